"""The session's connection is found in the kernel's tables, and so is the fact that it is stuck."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from finetop.tui.terminal.link_state import TABLES, Way, sent_again, way_of

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_connection_is_found_in_the_tables_of_this_kernel(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as server:
        try:
            server.bind((address, 0))
        except OSError:
            pytest.skip(f"{address} is not here")
        server.listen()
        with socket.create_connection(server.getsockname()[:2]) as client, server.accept()[0]:
            ssh_connection = f"{address} {client.getsockname()[1]} {address} {server.getsockname()[1]}"
            way = way_of({"SSH_CONNECTION": ssh_connection})
            assert way is not None
            tables = [Path(table).read_text() for table in TABLES if Path(table).exists()]
            lines = [line for table in tables for line in table.splitlines() if way.here in line]
            own_lines = [line for line in lines if line.split()[2] in way.there]
            assert len(own_lines) == 1
            assert sent_again(way, HEAD + own_lines[0]) == 0
            fields = own_lines[0].split()
            fields[6] = "00000004"
            assert sent_again(way, f"{HEAD}{' '.join(fields)}") == 4
            assert not way.check()


def test_old_addresses_are_in_the_new_table_and_a_way_that_is_in_none_is_not_stuck() -> None:
    way = way_of({"SSH_CONNECTION": "10.77.1.2 44756 10.77.1.3 22"})
    assert way is not None
    line = "0: 0000000000000000FFFF000003014D0A:0016"
    other = "0000000000000000FFFF000002014D0A:AED4"
    state = "01 0:0 01:00000010 00000003 0 0 1"
    assert sent_again(way, f"{HEAD}{line} {other} {state}") == 3
    assert sent_again(way, f"{HEAD}{line} {other.replace('AED4', 'AED5')} {state}") == 0
    assert not Way(":0016", frozenset({"0100007F:0001"})).check()


def test_where_no_connection_is_known_none_is_stuck() -> None:
    for connection in ("", "somewhere 1 10.0.0.1 22", "10.0.0.2 x 10.0.0.1 22"):
        assert way_of({"SSH_CONNECTION": connection}) is None
    assert way_of({}) is None
    in_tmux = {"SSH_CONNECTION": "10.0.0.2 44756 10.0.0.1 22", "TMUX": "/tmp/tmux-0/default,1,0"}
    assert way_of(in_tmux) is None
