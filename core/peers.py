"""Who is at the other end of a Unix socket, as the kernel knows it: finetop speaks with its own user alone."""

from __future__ import annotations

import os
import socket
import struct


def user_of(link: socket.socket) -> int:
    """Give the user id at the other end."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.getuid()  # macOS: the folder's rights alone
    packed = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", packed)[1])


def require_own(link: socket.socket) -> None:
    """Refuse to speak with another user's process. Raises PermissionError."""
    if (user := user_of(link)) != os.getuid():
        raise PermissionError(f"the socket is user {user}'s")
