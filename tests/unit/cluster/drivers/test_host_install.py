"""RabbitMQ installed on a host, with an apt-get that stands for it. As it comes after a look, which
test_ssh_checks.py has; on a host with a systemd it is in tests/integration/test_ssh.py."""

import os
import subprocess
from pathlib import Path

import pytest

from warrener.cluster.drivers import host_install
from warrener.cluster.drivers.host_install import Able

APT = """#!/bin/sh
echo "$*" >>"$TOLD"
cat "$POLICY" >>"$TOLD"
for word; do
  case $word in
    update) touch "$TOLD.updated" ;;
    install) [ -e "$TOLD.updated" ] || [ -z "$STALE" ] || { echo "E: Unable to locate"; exit 100; } ;;
  esac
done
"""  # noqa: E501


class Host:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.told = folder / "told"
        self.policy = folder / "policy-rc.d"
        for name, text in (
            ("apt-get", APT),
            ("sudo", '#!/bin/sh\nshift; echo sudo >>"$TOLD"; exec "$@"\n'),
            ("update-rc.d", '#!/bin/sh\necho "update-rc.d $*" >>"$TOLD"\n'),
            ("systemctl", '#!/bin/sh\necho "systemctl $*" >>"$TOLD"\n'),
        ):
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        program = host_install._INSTALL.replace(host_install._POLICY, str(self.policy))
        monkeypatch.setattr(host_install, "_INSTALL", program)

    def install(self, able: Able = Able.ROOT, **more: str) -> "subprocess.CompletedProcess[str]":
        environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "TOLD": str(self.told),
            "POLICY": str(self.policy),
            **more,
        }
        return subprocess.run(
            ["sh", "-s"],
            input=host_install.install(able, self.folder / "far"),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_the_packaged_service_is_kept_from_starting(host: Host) -> None:
    done = host.install()
    assert done.returncode == 0, done.stderr
    told = host.told.read_text().splitlines()
    install = next(line for line in told if " install " in line)
    assert install.endswith("install --no-install-recommends rabbitmq-server")
    assert told[told.index(install) + 1 :][2] == "exit 101"  # while it installs
    assert not host.policy.exists()
    if not os.path.isdir("/run/systemd/system"):
        assert told[-1] == "update-rc.d rabbitmq-server disable"


def test_a_policy_that_is_there_stays(host: Host) -> None:
    host.policy.write_text("#!/bin/sh\nexit 0\n")
    assert host.install().returncode == 0
    assert host.policy.read_text() == "#!/bin/sh\nexit 0\n"


def test_a_policy_that_an_earlier_try_left_behind_goes(host: Host) -> None:
    host.policy.write_text(f"#!/bin/sh\n# {host_install._OURS}\nexit 101\n")
    assert host.install().returncode == 0
    assert not host.policy.exists()


def test_old_lists_of_packages_are_brought_up_to_date(host: Host) -> None:
    assert host.install(STALE="yes").returncode == 0
    calls = [line for line in host.told.read_text().splitlines() if line.startswith("-")]
    assert ["update" in call for call in calls] == [False, True, False]


def test_with_sudo(host: Host) -> None:
    assert host.install(Able.SUDO).returncode == 0
    assert host.told.read_text().startswith("sudo\n")


def test_what_apt_says_is_told_and_kept(host: Host) -> None:
    apt = host.bin / "apt-get"
    apt.write_text("#!/bin/sh\necho Reading...\necho 'E: no disk left'\nexit 100\n")
    done = host.install()
    assert done.returncode != 0
    assert "E: no disk left" in done.stderr
    assert "Reading..." in (host.folder / "far" / "install.log").read_text()
    assert not host.policy.exists()
