"""TRL's own command line: `trl sft --config conf.yaml`; `--with trl:dpo` for another of its trainers."""

from __future__ import annotations

from finetop.core.external.trainers import Config, Known, Trainer, data_sets, files, text

OUTPUT = "trainer_output"  # its default


class Trl(Trainer):
    about = "TRL: trl sft --config CONFIG; trl:dpo for trl dpo"

    def read(self, config: Config) -> Known:
        words = ("trl", config.kind or "sft", "--config", str(config.path))
        return Known(
            words=words,
            output=text(config.settings, "output_dir") or OUTPUT,
            base=config.required("model_name_or_path"),
            data=files([text(config.settings, "dataset_name"), *data_sets(config.settings)], config.cwd),
            resume=(*words, "--resume_from_checkpoint", "{checkpoint}"),
        )


PLUGIN = Trl()
