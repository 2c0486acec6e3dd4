"""Which command has a file open, and where a process says that it writes to."""

from metric_files import other_command

from finetop.core.external.search import is_foreign
from finetop.core.external.watch import environment_of


def test_a_file_is_foreign_while_only_another_command_has_it_open(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "open")
    (tmp_path / "closed").touch()
    with other_command(tmp_path / "open") as writer:
        assert is_foreign(tmp_path / "open", "/own")
        assert is_foreign(tmp_path / "link", "")
        assert not is_foreign(tmp_path / "open", "/other/metrics.jsonl")
        assert not is_foreign(tmp_path / "closed", "/own")
        assert not is_foreign(tmp_path / "none", "/own")
        # of a process is read only what says where files go
        places = {"FINETOP_METRICS": "/other/metrics.jsonl", "WANDB_DIR": "/w"}
        assert environment_of(writer.pid).items() >= places.items()
        assert "SECRET" not in environment_of(writer.pid)
        assert environment_of(0) == {}
        writer.kill()
        writer.wait()
        assert not is_foreign(tmp_path / "open", "/own")
        assert environment_of(writer.pid) == {}
