"""What is measured beside our server in the same run: limits of the machine, and other servers."""

import contextlib
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from scripts.benchmarks import peers
from scripts.benchmarks.figures import OURS
from scripts.benchmarks.frames import Muster, Plain, SocketIO
from scripts.benchmarks.native import compiled
from scripts.benchmarks.swarm import Swarm, Template, swarm_of
from scripts.common.process import cpu_s
from scripts.common.target import OwnServer, Trouble

_HERE: Final = Path(__file__).parent
_START_S: Final = 20.0
_STOP_S: Final = 5.0

C_LOOP: Final = "C send loop"
C_JOINED: Final = "C, joined"
CORE: Final = "bare core"
BROADCAST: Final = "websockets broadcast"
NODE_WS: Final = "Node ws"
NODE_SOCKETIO: Final = "Node socket.io"
PYTHON_SOCKETIO: Final = "python-socketio"


class Server(Protocol):
    """A process that serves."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def cpu_s(self) -> float:
        """CPU seconds that it has used."""
        ...


class Kind(msgspec.Struct, frozen=True):
    """How a side is started.

    ``command`` gives the words before the size of an event's frame, or why it cannot be had.
    """

    command: Callable[[], Sequence[str] | str]
    talk: Plain = Plain()
    environment: Callable[[], Mapping[str, str]] = dict


class Side(msgspec.Struct, frozen=True):
    """A server and the connections to it; ``event`` makes one event for all of them."""

    name: str
    server: Server
    swarm: Swarm
    event: Template | None = None


class SmallServer:
    """A started server that is no Muster; made by ``small_server``."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self._process = process
        self.url = url

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def cpu_s(self) -> float:
        """CPU seconds that it has used."""
        return cpu_s(self.pid)


def _c(how: str) -> Callable[[], Sequence[str] | str]:
    def command() -> Sequence[str] | str:
        program = compiled("limits/send_loop.c")
        return "there is no C compiler" if program is None else [str(program), how]

    return command


def _ours(path: str) -> Callable[[], Sequence[str] | str]:
    return lambda: [sys.executable, "-P", str(_HERE / path)]


def _foreign(program: Callable[[], Path | str], path: str) -> Callable[[], Sequence[str] | str]:
    def command() -> Sequence[str] | str:
        found = program()
        return found if isinstance(found, str) else [str(found), str(_HERE / path)]

    return command


KINDS: Final[Mapping[str, Kind]] = {
    C_LOOP: Kind(_c("each")),
    C_JOINED: Kind(_c("joined")),
    CORE: Kind(_ours("limits/core.py")),
    BROADCAST: Kind(_ours("peers/websockets_broadcast.py")),
    NODE_WS: Kind(
        _foreign(peers.node_peer, "peers/node_ws.js"), environment=peers.node_environment
    ),
    NODE_SOCKETIO: Kind(
        _foreign(peers.node_peer, "peers/node_socketio.js"),
        SocketIO(),
        environment=peers.node_environment,
    ),
    PYTHON_SOCKETIO: Kind(_foreign(peers.python_peer, "peers/python_socketio.py"), SocketIO()),
}
"""Everything that can stand beside ours."""


@contextlib.contextmanager
def small_server(kind: Kind, frame_bytes: int) -> Iterator[SmallServer]:
    """A started server of this kind, ended afterwards.

    Raises:
        Trouble: it cannot be had, or does not get ready.
    """
    command = kind.command()
    if isinstance(command, str):
        raise Trouble(command)
    process = subprocess.Popen(
        [*command, str(frame_bytes)],
        stdout=subprocess.PIPE,
        env={**os.environ, **kind.environment()},
    )
    try:
        yield SmallServer(process, _address(process))
    finally:
        process.kill()
        process.wait(_STOP_S)
        if process.stdout is not None:
            process.stdout.close()


def _address(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(_START_S) else b""
    try:
        return str(msgspec.json.decode(line)["ws"])
    except (msgspec.DecodeError, KeyError, TypeError):
        raise Trouble("it did not get ready") from None


class Company:
    """The sides of one work: opens each of them, and notes those that cannot be had.

    Args:
        wants_c: the C program as the connections of each.
        wants_sides: others than ours at all.
    """

    def __init__(self, stack: contextlib.ExitStack, *, wants_c: bool, wants_sides: bool) -> None:
        self._stack = stack
        self._wants_c = wants_c
        self._wants_sides = wants_sides
        self.sides: list[Side] = []
        self.notes: list[str] = []

    def ours(
        self,
        server: OwnServer,
        user_ids: Sequence[str],
        event: Template | None = None,
        *,
        name: str = OURS,
    ) -> Side:
        """Our server, as these users."""
        talk = Muster(server.target())
        swarm = self._stack.enter_context(
            swarm_of(talk.target.url, talk.upgrade(), talk.hellos(user_ids), wants_c=self._wants_c)
        )
        side = Side(name, server, swarm, event)
        self.sides.append(side)
        return side

    def invite(self, names: Sequence[str], connections: int, frame_bytes: int) -> None:
        """Those of ``names`` that can be had, with so many connections' hellos each."""
        for name in names if self._wants_sides else ():
            kind = KINDS[name]
            try:
                server = self._stack.enter_context(small_server(kind, frame_bytes))
            except Trouble as error:
                self.notes.append(f"{name} is left out: {error}")
                continue
            swarm = self._stack.enter_context(
                swarm_of(
                    server.url,
                    kind.talk.upgrade(server.url),
                    [kind.talk.hello()] * connections,
                    wants_c=self._wants_c,
                )
            )
            self.sides.append(Side(name, server, swarm, kind.talk.event()))
