"""Listening sockets that leave some open files for those who are connected.

A server that has used up its open files cannot do its other work; and asyncio, when accepting
fails, tries again for the whole backlog and schedules as many new attempts, each of which does the
same a second later.
"""

import errno
import resource
import socket
import time
from typing import Any, Final

_PAUSE_S: Final = 0.5
"""Less than asyncio's pause after a failure, which is a second."""

_RESERVED_FILES: Final = 32
"""For the store and the admin listener; of small limits it is a quarter."""


class ListeningSocket(socket.socket):
    """Takes connections while there are open files to spare; the others wait in the backlog.

    Without room ``accept`` raises EMFILE once, which makes asyncio pause for a second, and then
    says that nobody waits. The one whose connection shows that there is no room is turned away.
    """

    __slots__ = ("_failed_s",)

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._failed_s = -_PAUSE_S

    def accept(self) -> tuple[socket.socket, Any]:
        """See ``socket.socket.accept``.

        Raises:
            OSError: EMFILE; for half a second after that BlockingIOError.
        """
        if time.monotonic() - self._failed_s < _PAUSE_S:
            raise BlockingIOError(errno.EAGAIN, "there was no room just now")
        try:
            connection, address = super().accept()
        except BlockingIOError:
            raise
        except OSError:
            self._failed_s = time.monotonic()
            raise
        if connection.fileno() >= _most_files():
            connection.close()
            self._failed_s = time.monotonic()
            raise OSError(errno.EMFILE, "no open files to spare; raise ulimit -n")
        return connection, address


def open_sockets(host: str, port: int) -> list[ListeningSocket]:
    """Bound sockets for every address of ``host``; port 0 picks a free one for each.

    Raises:
        OSError: an address is not free, or not ours.
    """
    sockets: list[ListeningSocket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _name, address in dict.fromkeys(found):
            opened = ListeningSocket(family, kind, protocol)
            sockets.append(opened)
            opened.setblocking(False)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                opened.bind(address)
            except OSError as error:
                raise OSError(
                    error.errno, f"{host}:{port} cannot be listened on: {error.strerror}"
                ) from error
    except OSError:
        for opened in sockets:
            opened.close()
        raise
    return sockets


def _most_files() -> int:
    """Descriptors from this on are not for connections."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 2**31
    return soft - min(_RESERVED_FILES, soft // 4)
