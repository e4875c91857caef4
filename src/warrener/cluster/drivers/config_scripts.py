"""Erlang that asks a node about its configuration, or changes it, and what it answers. Pure.

One script answers for all keys at once: a call of a tool costs a second, whatever it does, and
``erl_call`` a quarter of one, which is what the script takes by itself.

What a file would come to is asked of the node's own ``rabbit_prelaunch_conf``, which does the same
when it boots: the schemas' Erlang code (translations, validators) is evaluated by those who wrote
it, and both sides can be compared as terms. Measured on RabbitMQ 3.10.8: 0.25 s for the whole file.
It is an internal function; where a version hasn't got it, ``error`` says so, and what is in force
is told all the same.

Some values in force aren't where the file's end up: ``rabbitmqctl set_vm_memory_high_watermark``
tells a process and leaves the environment alone. Those are asked of who holds them.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

MEMORY: Final = "rabbit.vm_memory_high_watermark"
DISK: Final = "rabbit.disk_free_limit"
LOG_LEVEL: Final = "rabbit.log.file.level"
TICK: Final = "kernel.net_ticktime"


@dataclass(frozen=True, slots=True)
class Value:
    """One target on one node, as Erlang prints it; None: there is none. ``wanted`` is what the
    node's file comes to, or the default; ``same`` is the node's own word."""

    in_force: str | None
    wanted: str | None
    same: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What a node says. ``loaded`` are its applications: a plugin that is off isn't among them.
    ``error``: why its file comes to nothing, empty if it comes to something."""

    values: Mapping[str, Value]
    loaded: frozenset[str]
    error: str

    def uses(self, target: str) -> bool:
        """Whether the application that the target is of is there at all."""
        return target.partition(".")[0] in self.loaded


class NotUnderstood(ValueError):
    """What the tool printed isn't an answer to the script."""


_PRELUDE: Final = """
File = @FILE@,
Targets = @TARGETS@,
Generated =
  try rabbit_prelaunch_conf:generate_config_from_cuttlefish_files(
        rabbit_prelaunch:get_context(), [File], undefined) of
    Config when is_list(Config) -> {ok, Config};
    Other -> {error, Other}
  catch _:Why -> {error, Why}
  end,
FromFile = case Generated of {ok, G} -> G; _ -> [] end,
Shipped = maps:from_list(
  [{App, case code:where_is_file(atom_to_list(App) ++ ".app") of
           non_existing -> [];
           Path -> case file:consult(Path) of
                     {ok, [{application, _, Ps}]} -> proplists:get_value(env, Ps, []);
                     _ -> []
                   end
         end} || App <- lists:usort([A || {_, A, _, _} <- Targets])]),
Walk = fun W([], V) -> {ok, V};
           W([K | Ks], L) when is_list(L) ->
             case lists:keyfind(K, 1, L) of {K, V} -> W(Ks, V); _ -> none end;
           W([K | Ks], M) when is_map(M) ->
             case maps:find(K, M) of {ok, V} -> W(Ks, V); error -> none end;
           W(_, _) -> none
       end,
Wanted = fun(App, [K | Ks]) ->
  case lists:keyfind(K, 1, proplists:get_value(App, FromFile, [])) of
    {K, V} -> Walk(Ks, V);
    false -> Walk([K | Ks], maps:get(App, Shipped))
  end
end,
Bytes = fun(N) when is_number(N) -> N;
           (Text) ->
             case rabbit_resource_monitor_misc:parse_information_unit(Text) of
               {ok, N} -> N;
               _ -> Text
             end
        end,
"""

_LOOK: Final = """
InForce = fun(memory, _, _) -> {ok, vm_memory_monitor:get_vm_memory_high_watermark()};
             (disk, _, _) -> {ok, rabbit_disk_monitor:get_disk_free_limit()};
             (tick, _, _) ->
               case net_kernel:get_net_ticktime() of
                 {ongoing_change_to, T} -> {ok, T};
                 T -> {ok, T}
               end;
             (log_level, App, Path) ->
               case [L || #{id := Id, level := L} <- logger:get_handler_config(),
                          lists:prefix("rmq_1_file_", atom_to_list(Id))] of
                 [L | _] -> {ok, L};
                 [] -> Walk(Path, application:get_all_env(App))
               end;
             (_, App, Path) -> Walk(Path, application:get_all_env(App))
          end,
Same = fun(memory, {ok, {absolute, V}}) -> {ok, {absolute, Bytes(V)}};
          (disk, {ok, {mem_relative, R}}) ->
            {ok, trunc(R * vm_memory_monitor:get_total_memory())};
          (disk, {ok, {absolute, V}}) -> {ok, Bytes(V)};
          (disk, {ok, V}) -> {ok, Bytes(V)};
          (tick, none) -> {ok, 60};
          (log_level, none) -> {ok, info};
          (_, V) -> V
       end,
Shown = fun(hidden, {ok, _}) -> <<"@SECRET@">>;
           (_, {ok, V}) -> unicode:characters_to_binary(io_lib:format("~0tp", [V]));
           (_, none) -> null
        end,
Rows = [begin
  Now = try InForce(How, App, Path) catch _:_ -> none end,
  Then = Wanted(App, Path),
  Equal = try Same(How, Now) =:= Same(How, Then) catch _:_ -> false end,
  [list_to_binary(Target), Shown(How, Now), Shown(How, Then), Equal]
end || {Target, App, Path, How} <- Targets],
Loaded = [App || {App, _, _} <- application:loaded_applications()],
Error = case Generated of
  {error, E} -> unicode:characters_to_binary(io_lib:format("~0tp", [E]));
  _ -> <<>>
end,
Answer = #{error => Error, rows => Rows, loaded => Loaded},
{warrener, base64:encode(iolist_to_binary(rabbit_json:encode(Answer)))}.
"""

_APPLY: Final = """
{ok, _} = Generated,
Set = fun(memory, {ok, {absolute, V}}) ->
            vm_memory_monitor:set_vm_memory_high_watermark({absolute, Bytes(V)});
         (memory, {ok, V}) -> vm_memory_monitor:set_vm_memory_high_watermark(V);
         (disk, {ok, {absolute, V}}) -> rabbit_disk_monitor:set_disk_free_limit(Bytes(V));
         (disk, {ok, V}) -> rabbit_disk_monitor:set_disk_free_limit(V);
         (tick, {ok, V}) -> net_kernel:set_net_ticktime(V);
         (tick, none) -> net_kernel:set_net_ticktime(60);
         (log_level, {ok, V}) -> rabbit_prelaunch_logging:set_log_level(V);
         (log_level, none) -> rabbit_prelaunch_logging:set_log_level(info);
         (_, _) -> ok
      end,
[begin
  Set(How, Wanted(App, Path)),
  case How of
    log_level -> ok;
    _ ->
      case Wanted(App, [hd(Path)]) of
        {ok, New} -> application:set_env(App, hd(Path), New);
        none -> application:unset_env(App, hd(Path))
      end
  end
end || {_, App, Path, How} <- Targets],
{warrener, base64:encode(<<"{}">>)}.
"""

_HOW: Final = {MEMORY: "memory", DISK: "disk", TICK: "tick", LOG_LEVEL: "log_level"}


def look(file: Path, targets: Iterable[str], hidden: Iterable[str], secret: str) -> str:
    """A script that tells, for each target, what is in force and what ``file`` comes to. Of
    ``hidden`` targets it only tells whether the two are the same."""
    return _filled(_PRELUDE + _LOOK, file, sorted(targets), frozenset(hidden), secret)


def apply(file: Path, targets: Sequence[str]) -> str:
    """A script that puts what ``file`` comes to in force for these targets."""
    return _filled(_PRELUDE + _APPLY, file, sorted(targets), frozenset(), "")


def read_answer(printed: str) -> Told:
    """What ``look`` found. Raises NotUnderstood."""
    begin = printed.rfind("{warrener,")
    if begin < 0:
        raise NotUnderstood(f"no answer in what it printed: {printed[-200:]!r}")
    # Erlang folds a long binary into several strings.
    text = "".join(re.findall(r"\"([A-Za-z0-9+/=]*)\"", printed[begin:]))
    try:
        answer = msgspec.json.decode(base64.b64decode(text, validate=True), type=_Answer)
    except (binascii.Error, msgspec.DecodeError) as error:
        raise NotUnderstood(f"the answer isn't understood: {error}") from None
    values = {
        target: Value(in_force, wanted, same) for target, in_force, wanted, same in answer.rows
    }
    why = "; ".join(complaints(printed)) or answer.error
    return Told(values, frozenset(answer.loaded), why if answer.error else "")


def complaints(printed: str) -> list[str]:
    """What cuttlefish says is wrong with a file; it prints that where the script was called."""
    found = []
    for line in printed.splitlines():
        match = re.search(r" \[error\] (?:<[\d.]+> ?)?(.*\S)", line)
        if match:
            found.append(match[1].strip())
    # The lines with a dash say what is wrong, those before them in which of its phases.
    return [line.removeprefix("- ") for line in found if line.startswith("- ")] or found


class _Answer(msgspec.Struct, frozen=True):
    error: str = ""
    rows: list[tuple[str, str | None, str | None, bool]] = []
    loaded: list[str] = []


def _filled(
    script: str, file: Path, targets: Sequence[str], hidden: frozenset[str], secret: str
) -> str:
    terms = ",\n  ".join(_target(target, target in hidden) for target in targets)
    replaced = script.replace("@FILE@", _string(str(file))).replace("@SECRET@", secret)
    return replaced.replace("@TARGETS@", f"[{terms}]")


def _target(target: str, is_hidden: bool) -> str:
    application, *path = target.split(".")
    how = "hidden" if is_hidden else _HOW.get(target, "plain")
    atoms = ",".join(_atom(part) for part in path)
    return f"{{{_string(target)},{_atom(application)},[{atoms}],{how}}}"


def _string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _atom(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
