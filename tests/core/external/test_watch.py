"""Where a process says that it writes to."""

from metric_files import other_command

from finetop.core.external.watch import environment_of


def test_of_a_process_is_read_only_what_says_where_files_go(tmp_path):
    with other_command(tmp_path / "open") as writer:
        places = {"FINETOP_METRICS": "/other/metrics.jsonl", "WANDB_DIR": "/w"}
        assert environment_of(writer.pid).items() >= places.items()
        assert "SECRET" not in environment_of(writer.pid)
        assert environment_of(0) == {}
        writer.kill()
        writer.wait()
        assert environment_of(writer.pid) == {}
