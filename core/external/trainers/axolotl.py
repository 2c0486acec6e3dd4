"""Axolotl: `axolotl train conf.yaml`."""

from __future__ import annotations

from finetop.core.external.trainers import Config, Known, Trainer, data_sets, files, text

OUTPUT = "./model-out"  # its default


class Axolotl(Trainer):
    about = "Axolotl: axolotl train CONFIG"

    def read(self, config: Config) -> Known:
        config.no_kind()
        words = ("axolotl", "train", str(config.path))
        return Known(
            words=words,
            output=text(config.settings, "output_dir") or OUTPUT,
            base=config.required("base_model"),
            data=files(data_sets(config.settings), config.cwd),
            resume=(*words, "--resume-from-checkpoint", "{checkpoint}"),
        )


PLUGIN = Axolotl()
