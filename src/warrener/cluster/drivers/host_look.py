"""What a host is asked before anything is done on it, as a program for a POSIX shell. Pure."""

from typing import Final

from warrener.cluster.drivers import host_install, systemd
from warrener.cluster.drivers.host_scripts import script

_TOOLS: Final = """\
cd || exit 71
echo "home $(pwd)"
echo "user $(id -un)"
echo "time $(date +%s)"
PATH="$PATH:$more"
for tool in cat chmod env grep id kill ls mkdir mv rm sed setsid sleep tail tr wc; do
  command -v $tool >/dev/null 2>&1 || echo "missing $tool"
done
[ -r /proc/self/environ ] || echo "missing /proc"
if [ -r /proc/net/fib_trace ]; then
  grep -A1 -F -- "|-- $address" /proc/net/fib_trace | tr '\\n' ' ' |
    grep -q -F -- "|-- $address " && echo "address yes"
else
  echo "address yes"
fi
case $folder in "~"/*) folder=$(pwd)/${folder#??} ;; esac
if why=$(mkdir -p -m 700 "$folder" 2>&1 && : 2>&1 >"$folder/.warrener-test"); then
  rm -f "$folder/.warrener-test"
else
  echo "folder ${why:-$folder can't be written to}"
fi
"""

_INSTALLATIONS: Final = """\
case $wanted in "~"/*) wanted=$(pwd)/${wanted#??} ;; esac
case $wanted in
  "") set -- /usr/lib/rabbitmq/lib/rabbitmq_server-* ;;
  *) set -- "$wanted" "${wanted%/sbin}" "$wanted"/rabbitmq_server-* ;;
esac
for root in "$@"; do
  [ -f "$root/sbin/rabbitmq-server" ] || continue
  root=$(cd -P "$root" && pwd -P) && echo "root $root"
  for plugin in "$root"/plugins/*-*; do
    echo "plugin ${plugin##*/}"
  done
done
echo "path $PATH"
erl=$(command -v erl) || exit 0
echo "erl $erl"
true_erl=$(readlink -f "$erl" 2>/dev/null || echo "$erl")
home=${true_erl%/bin/*}
for epmd in "$home"/erts-*/bin/epmd; do
  [ -x "$epmd" ] && echo "epmd $epmd"
done
command -v epmd >/dev/null 2>&1 && echo "other-epmd $(command -v epmd)"
for version in "$home"/releases/*/OTP_VERSION; do
  [ -f "$version" ] && read -r otp <"$version" && echo "otp $otp"
done
:
"""


def look(root: str, path: str, folder: str, address: str) -> str:
    """Prints, as ``KEY VALUE`` lines, what is to be known before anything is done on a host:
    ``home``, ``user``, ``time`` (s since the epoch), ``missing`` (a tool), ``address`` (it is one
    of the host's), ``folder`` (can't be written to: why), ``systemd`` or ``no-systemd``,
    ``install`` (as whom packages can be installed), each ``root`` of a RabbitMQ, links resolved,
    with its ``plugin`` lines after it, ``path``, ``erl``, ``epmd``, ``otp``."""
    return script(
        _TOOLS + systemd.LOOK + host_install.LOOK + _INSTALLATIONS,
        wanted=root,
        more=path,
        folder=folder,
        address=address,
    )
