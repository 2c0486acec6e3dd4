"""What training programs print, line by line as they do, with the steps and losses that they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Printout:
    """A program's output: `losses` by step, under `metric` as the program names it; '' for any loss."""

    text: str
    losses: dict[int, float]
    metric: str = "loss"


def loss_at(step: int) -> float:
    return round(3 / (1 + step / 10), 4)


def losses(steps: Sequence[int]) -> dict[int, float]:
    return {step: loss_at(step) for step in steps}


def each(
    steps: Sequence[int], line: Callable[[int, float], str], before: str = "", metric: str = "loss"
) -> Printout:
    """Return a printout of one line for each step."""
    return Printout(before + "".join(line(step, loss_at(step)) for step in steps), losses(steps), metric)


def bar(done: int, total: int, before: str = "", after: str = "") -> str:
    share = 100 * done // total
    return f"\r{before}{share:3d}%|{'█' * (share // 10):10}| {done}/{total} [00:01<00:02,  3.50it/s{after}]"


def trainer_with_bar() -> Printout:
    text = "".join(
        f"{bar(step, 20)}\r{' ' * 60}\r{{'loss': '{loss_at(step)}', 'grad_norm': '1.5', 'learning_rate': '2e-05',"
        f" 'epoch': '{step / 20:.4g}'}}\n{bar(step, 20)}"
        for step in range(1, 21)
    )
    return Printout(
        text + "\n{'train_runtime': '9.1', 'train_loss': '1.7', 'epoch': '1'}\n", losses(range(1, 21))
    )


def swift() -> Printout:
    return each(
        range(5, 51, 5),
        lambda step, loss: (
            f"{{'loss': {loss}, 'token_acc': 0.6, 'grad_norm': 1.0, 'learning_rate': 1e-05, 'memory(GiB)': 9.5,"
            f" 'epoch': {step / 50}, 'global_step/max_steps': '{step}/50', 'percentage': '{2 * step}.00%',"
            " 'elapsed_time': '1m 2s', 'remaining_time': '12s'}\n"
        ),
    )


def keras(
    lines: Callable[[int, int], str], end: Callable[[int, float], str], redraws: Sequence[int]
) -> Printout:
    """Return three epochs of 60 batches; then an evaluation, which is none of the training."""
    text, expected = "", {}
    for epoch in range(3):
        text += f"Epoch {epoch + 1}/3\n"
        for batch in redraws:
            text += lines(batch, 60 * epoch + batch)
            expected[60 * epoch + batch] = loss_at(60 * epoch + batch)
        last = 60 * (epoch + 1)
        text += end(last, loss_at(last))
        expected[last] = loss_at(last)
    return Printout(text + end(0, 0.0).replace("60/60", "16/16").partition(" - val")[0] + "\n", expected)


def keras_3(*, verbose: int) -> Printout:
    def lines(batch: int, step: int) -> str:
        return (
            f"\r\x1b[1m{batch:2d}/60\x1b[0m \x1b[32m━━━━━\x1b[0m\x1b[37m━━━━━\x1b[0m \x1b[1m2s\x1b[0m 41ms/step"
            f" - accuracy: 0.1250 - loss: {loss_at(step)}"
        )

    def end(step: int, loss: float) -> str:
        drawn = (
            "\r\x1b[1m60/60\x1b[0m \x1b[32m━━━━━━━━━━\x1b[0m\x1b[37m\x1b[0m \x1b[1m3s\x1b[0m 44ms/step"
            if verbose == 1
            else "60/60 - 3s - 44ms/step"
        )
        return f"{drawn} - accuracy: 0.3 - loss: {loss} - val_accuracy: 0.2 - val_loss: 2.5\n"

    return keras(lines, end, (1, 21, 41) if verbose == 1 else ())


def keras_2(*, verbose: int) -> Printout:
    def lines(batch: int, step: int) -> str:
        arrow = "=" * (batch // 2)
        return (
            f"\x08\x08\x08\r{batch:2d}/60 [{arrow}>{'.' * (29 - batch // 2)}] - ETA: 2s"
            f" - loss: {loss_at(step)} - accuracy: 0.1"
        )

    def end(step: int, loss: float) -> str:
        after = f"loss: {loss} - accuracy: 0.3 - val_loss: 2.5 - val_accuracy: 0.2"
        if verbose == 2:
            return f"60/60 - 3s - {after} - 3s/epoch - 44ms/step\n"
        return f"\x08\x08\x08\r60/60 [{'=' * 30}] - 3s 44ms/step - {after}\n"

    return keras(lines, end, (1, 21, 41) if verbose == 1 else ())


def megatron() -> Printout:
    rule = "-" * 96 + "\n"
    printed = each(
        range(10, 101, 10),
        lambda step, loss: (
            f" [2025-01-01 10:00:{step % 60:02d}] iteration {step:8d}/{100:8d} | consumed samples: {64 * step:12d} |"
            " elapsed time per iteration (ms): 1234.5 | throughput per GPU (TFLOP/s/GPU): 101.5 |"
            f" learning rate: 1.500000E-05 | global batch size:    64 | lm loss: {loss:.6E} | loss scale: 1.0 |"
            " grad norm: 2.345 | number of skipped iterations:   0 | number of nan iterations:   0 |\n"
        ),
        metric="lm_loss",
    )
    evaluated = " validation loss at iteration 100 | lm loss value: 1.043209E+00 | lm loss PPL: 2.838E+00 |\n"
    return Printout(printed.text + rule + evaluated + rule, printed.losses, printed.metric)


def mnist() -> Printout:
    """Return two epochs of 30 batches of 64 rows, each printed; its evaluations are none of the training."""
    text = ""
    for epoch in (1, 2):
        for batch in range(1, 31):
            loss = loss_at(30 * (epoch - 1) + batch)
            text += f"Train Epoch: {epoch} [{64 * batch}/1920 ({100 * batch / 30:.0f}%)]\tLoss: {loss:.6f}\n"
        text += "\nTest set: Average loss: 0.0512, Accuracy: 9833/10000 (98%)\n\n"
    return Printout(text, losses(range(1, 61)))


def quickstart() -> Printout:
    """Return PyTorch's first tutorial: three epochs of 10 lines, one for 100 batches."""
    text, step, expected = "", 0, {}
    for epoch in (1, 2, 3):
        text += f"Epoch {epoch}\n-------------------------------\n"
        for batch in range(0, 938, 100):
            step = 938 * (epoch - 1) + batch + 1
            expected[step] = loss_at(step)
            text += f"loss: {loss_at(step):>7f}  [{(batch + 1) * 64:>5d}/60000]\n"
        text += "Test Error: \n Accuracy: 50.9%, Avg loss: 1.912345 \n\n"
    return Printout(text, expected)


def transfer() -> Printout:
    """Return PyTorch's tutorial of transfer learning."""
    text = "".join(
        f"Epoch {epoch}/9\n----------\ntrain Loss: {loss_at(epoch)} Acc: 0.8\nval Loss: 0.4 Acc: 0.9\n\n"
        for epoch in range(10)
    )
    return Printout(f"{text}Training complete in 1m 5s\nBest val Acc: 0.941176\n", losses(range(10)))


def seq2seq() -> Printout:
    return each(
        range(1, 11),
        lambda step, loss: (
            f"Epoch: {step:02} | Time: 0m 10s\n\tTrain Loss: {loss:.4f} | Train PPL: 154.700\n"
            "\t Val. Loss: 4.900 |  Val. PPL: 134.100\n"
        ),
    )


def cifar() -> Printout:
    text, expected = "", {}
    for epoch in range(2):
        for batch in range(2000, 12001, 2000):
            step = 12_000 * epoch + batch
            expected[step] = loss_at(step)
            text += f"[{epoch + 1}, {batch:5d}] loss: {loss_at(step)}\n"
    return Printout(f"{text}Finished Training\n", expected)


def yolo() -> Printout:
    header = "\n      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size\n"
    evaluated = "                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95)"
    text = ""
    for epoch in range(1, 6):
        row = f"        {epoch}/5      2.61G {{}}      1.398      1.192         81        640: "
        text += (
            header + bar(1, 8, row.format(f"{9.9:10.4g}")) + bar(8, 8, row.format(f"{loss_at(epoch):10.5g}"))
        )
        text += "\n" + bar(4, 4, f"{evaluated}: ") + "\n"
        text += "                   all        128        929      0.669       0.66       0.71       0.54\n"
    return Printout(text, losses(range(1, 6)), "box_loss")


def table(header: str, row: str, steps: Sequence[int] = range(1, 11), metric: str = "loss") -> Printout:
    return each(
        steps, lambda step, loss: row.format(step=step, loss=loss) + "\n", before=f"{header}\n", metric=metric
    )


def lightning() -> Printout:
    text, expected = "", {}
    for epoch in range(2):
        for batch in range(1, 11):
            step = 10 * epoch + batch
            expected[step] = loss_at(step)
            text += bar(batch, 10, f"Epoch {epoch}: ", f", v_num=0, train_loss={loss_at(step)}")
        text += bar(1, 2, "Validation DataLoader 0: ")
    return Printout(f"{text}\n`Trainer.fit` stopped: `max_epochs=2` reached.\n", expected, "train_loss")


def postfixes() -> Printout:
    text = "".join(
        bar(batch, 10, f"Epoch {epoch + 1}/2: ", f", loss={loss_at(10 * epoch + batch)}, lr=1e-5")
        for epoch in range(2)
        for batch in range(1, 11)
    )
    return Printout(text, losses(range(1, 21)))  # without a newline at its end


def fairseq(*, as_json: bool = False) -> Printout:
    def line(step: int, loss: float) -> str:
        if as_json:
            return (
                f'2025-01-01 10:00:00 | INFO | train_inner | {{"epoch": 1, "update": 0.1, "loss": "{loss}",'
                f' "ppl": "8.1", "wps": "900", "num_updates": "{step}", "lr": "1e-05", "gnorm": "1.2"}}\n'
            )
        return (
            f"2025-01-01 10:00:00 | INFO | train_inner | epoch 001: {step:6d} / 1000 loss={loss}, ppl=588.1, wps=9123,"
            f" ups=2.1, wpb=4096, bsz=128, num_updates={step}, lr=1e-05, gnorm=1.2, clip=0, train_wall=20, wall=30\n"
        )

    printed = each(range(100, 1001, 100), line)
    evaluated = (
        "2025-01-01 10:00:00 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 7.2 | nll_loss 6.1 | ppl 64.2"
        " | num_updates 1000 | best_loss 7.2\n"
    )
    return Printout(printed.text + evaluated, printed.losses)


def nanogpt() -> Printout:
    printed = each(
        range(0, 101, 10), lambda step, loss: f"iter {step}: loss {loss}, time 23.40ms, mfu 12.00%\n"
    )
    return Printout(f"step 0: train loss {loss_at(0):.4f}, val loss 9.2000\n{printed.text}", printed.losses)


def composer() -> Printout:
    return each(
        range(1, 11),
        lambda step, loss: (
            f"[batch={step}/10]:\n\t Train time/epoch: 0\n\t Train time/batch: {step}\n"
            f"\t Train loss/train/total: {loss}\n\t Train throughput/batches_per_sec: 1.5\n"
        ),
        metric="loss/train/total",
    )


def olmo() -> Printout:
    return each(
        range(1, 11),
        lambda step, loss: (
            f"[2025-01-01 10:00:00] INFO     [olmo.train:600, rank=0] [step={step}/10,epoch=0]\n"
            f"    optim/total_grad_norm=1.2\n    train/CrossEntropyLoss={loss}\n    train/Perplexity=9.1\n"
        ),
        metric="train/crossentropyloss",
    )


def imagenet(line: str) -> Printout:
    """Return two epochs of 100 batches, of which each tenth is printed, counted from 0."""
    text, expected = "", {}
    for epoch in range(2):
        for batch in range(0, 100, 10):
            step = 100 * epoch + batch
            expected[step] = loss_at(step)
            text += line.format(epoch=epoch, first=epoch + 1, batch=batch, loss=loss_at(step)) + "\n"
        text += "Test: [ 0/20]\tTime  0.3 ( 0.3)\tLoss 1.2e+00 (1.2e+00)\tAcc@1  70.00 ( 70.00)\n"
    return Printout(text, expected)


STEPS = range(1, 11)
TENS = range(10, 101, 10)
TABLE_OF_NOTEBOOK = "| Step | Training Loss | Validation Loss |\n|------|---------------|-----------------|"

FORMATS: dict[str, Callable[[], Printout]] = {
    "Hugging Face Trainer, progress bar": trainer_with_bar,
    "Hugging Face Trainer, no progress bar": lambda: each(
        STEPS, lambda step, loss: f"{{'loss': '{loss}', 'learning_rate': '2e-05', 'epoch': '{step / 10}'}}\n"
    ),
    "ms-swift": swift,
    "Keras 3, verbose 1": lambda: keras_3(verbose=1),
    "Keras 3, verbose 2": lambda: keras_3(verbose=2),
    "Keras 2, verbose 1": lambda: keras_2(verbose=1),
    "Keras 2, verbose 2": lambda: keras_2(verbose=2),
    "Megatron-LM": megatron,
    "GPT-NeoX": lambda: each(
        TENS,
        lambda step, loss: (
            f" samples/sec: 10.5 | iteration {step:8d}/     100 | elapsed time per iteration (ms): 100.5 |"
            f" learning rate: 1.000E-05 | approx flops per GPU: 10.1TFLOPS | lm_loss: {loss:.6E} | loss scale: 1.0 |\n"
        ),
        metric="lm_loss",
    ),
    "NeMo": lambda: each(
        range(10),
        lambda step, loss: (
            f"Training epoch 0, iteration {step}/9 | lr: 1.5e-08 | global_batch_size: 8 | global_step: {step} |"
            f" reduced_train_loss: {loss} | train_step_timing in s: 5.8 | consumed_samples: {8 * step}\n"
        ),
        metric="reduced_train_loss",
    ),
    "DeepSpeed-Chat": lambda: each(
        STEPS, lambda step, loss: f"Epoch: 0, Step: {step}, Rank: 0, loss = {loss}\n"
    ),
    "PyTorch's MNIST example": mnist,
    "PyTorch's quickstart": quickstart,
    "PyTorch's CIFAR tutorial": cifar,
    "PyTorch's transfer learning": transfer,
    "PyTorch's ImageNet example": lambda: imagenet(
        "Epoch: [{epoch}][{batch:3d}/100]\tTime  0.3 ( 0.5)\tData  0.1 ( 0.1)\tLoss {loss:.4e} (6.9e+00)\tAcc@1   1.00"
    ),
    "torchvision": lambda: imagenet(
        "Epoch: [{epoch}]  [{batch:3d}/100]  eta: 0:10:00  lr: 0.1  img/s: 99.1  loss: {loss} (6.9)  acc1: 0.1 (0.1)"
    ),
    "timm": lambda: imagenet(
        "Train: {epoch} [{batch:4d}/100 ({batch:3d}%)]  Loss: {loss} (6.95)  Time: 1.010s,  126.7/s  LR: 1.0e-06"
    ),
    "MMEngine": lambda: imagenet(
        "2025/01/01 10:00:00 - mmengine - INFO - Epoch(train)  [{first}][{batch:3d}/100]  lr: 2.0e-03  eta: 0:10:00"
        "  time: 0.3  data_time: 0.01  memory: 1234  loss: {loss}  loss_cls: 0.5"
    ),
    "Detectron2": lambda: each(
        range(19, 200, 20),
        lambda step, loss: (
            f"[01/01 10:00:00 d2.utils.events]:  eta: 0:10:00  iter: {step}  total_loss: {loss}  loss_cls: 0.5  time:"
            " 0.31  data_time: 0.01  lr: 0.0001  max_mem: 1234M\n"
        ),
        metric="total_loss",
    ),
    "tutorial loop": lambda: imagenet("Epoch [{first}/2], Step [{batch}/100], Loss: {loss:.4f}"),
    "average of an epoch": lambda: each(
        STEPS, lambda step, loss: f"Epoch {step}/10, Average Loss: {loss}, Time: 1.2s\n"
    ),
    "seq2seq tutorial": seq2seq,
    "fastai table": lambda: table(
        "epoch     train_loss  valid_loss  accuracy  time    ",
        "{step:<10}{loss:<12}2.500000    0.800000  00:05     ",
        range(10),
        "train_loss",
    ),
    "skorch table": lambda: table(
        "  epoch    train_loss    valid_acc    valid_loss     dur\n"
        "-------  ------------  -----------  ------------  ------",
        "{step:7d}  {loss:12.4f}       0.5000        2.5000  0.0300",
        metric="train_loss",
    ),
    "spaCy table": lambda: table(
        "E    #       LOSS TOK2VEC  LOSS NER  ENTS_F  ENTS_P  ENTS_R  SCORE \n"
        "---  ------  ------------  --------  ------  ------  ------  ------",
        "  0  {step:6d}  {loss:12.4f}     50.00    0.00    0.00    0.00    0.00",
        range(0, 1001, 200),
        "loss_tok2vec",
    ),
    "notebook table": lambda: table(TABLE_OF_NOTEBOOK, "| {step} | {loss} | No log |", TENS, "training_loss"),
    "table with tabs": lambda: table("step\tloss\tlr", "{step}\t{loss}\t1e-5"),
    "table with one space": lambda: table("step loss grad_norm tokens/s", "{step} {loss} 1.5 900"),
    "YOLO": yolo,
    "Lightning, tqdm": lightning,
    "Lightning, rich": lambda: each(
        STEPS,
        lambda step, loss: (
            f"Epoch 0/0  {'━' * step}{'╸' * (step < 10)} {step}/10 0:00:01 • 0:00:00 12.31it/s v_num: 0.000"
            f" train_loss: {loss}\n"
        ),
        metric="train_loss",
    ),
    "tqdm postfix, no last newline": postfixes,
    "redrawn line, no last newline": lambda: each(
        STEPS, lambda step, loss: f"\rstep {step}/10 loss {loss:.4f}"
    ),
    "AllenNLP": lambda: each(
        STEPS,
        lambda step, loss: (
            f"\raccuracy: 0.5, loss: {loss} ||: {10 * step:3d}%|{'#' * step:10}| {step}/10 [00:10<00:10,  5.00it/s]"
        ),
    ),
    "torchtune": lambda: each(
        STEPS,
        lambda step, loss: f"\r1|{step}|Loss: {loss}: {10 * step}%|██ | {step}/10 [00:12<15:58,  2.43s/it]",
    ),
    "fairseq": fairseq,
    "fairseq, JSON": lambda: fairseq(as_json=True),
    "nanoGPT": nanogpt,
    "nanochat": lambda: each(
        STEPS,
        lambda step, loss: (
            f"step {step:05d}/00010 ({10 * step:.2f}%) | loss: {loss} | grad norm: 1.2 | lrm: 1.00 | dt: 100.1ms |"
            " tok/sec: 100,000 | mfu: 40.1 | total time: 1.0m\n"
        ),
    ),
    "llm.c": lambda: each(
        STEPS,
        lambda step, loss: (
            f"step {step:4d}/10 | loss {loss:.6f} (+nanz)| norm 15.3000 (+nanz)| lr 6.00e-04 | 3000.00 ms | 49.0% bf16"
            " MFU | 174000 tok/s\n"
        ),
    ),
    "llama2.c": lambda: each(
        STEPS, lambda step, loss: f"{step} | loss {loss} | lr 1.000000e-05 | 100.00ms | mfu 10.00%\n"
    ),
    "llama.cpp finetune (2023)": lambda: each(
        STEPS,
        lambda step, loss: (
            f"train_opt_callback: iter={step:6d} sample={4 * step + 1}/27520 sched=0.020000 loss={loss:.6f} dt=00:00:12"
            " eta=00:51:29 |->\n"
        ),
    ),
    "llama.cpp finetune (2025)": lambda: each(
        STEPS,
        lambda step, loss: (
            f"train: [{'=' * step}>{' ' * (10 - step)}] data={step:07d}/0000010 loss={loss:.5f}±0.02000 acc=50.10±1.10%"
            " t=00:00:12 ETA=00:00:00 \r"
        ),
    ),
    "litgpt": lambda: each(
        STEPS,
        lambda step, loss: (
            f"Epoch 1 | iter {step} step {step} | loss train: {loss}, val: n/a | iter time: 100.00 ms (step)\n"
        ),
    ),
    "MLX": lambda: Printout(
        "Iter 1: Val loss 9.100, Val took 10.2s\n"
        + "".join(
            f"Iter {step}: Train loss {loss_at(step)}, Learning Rate 1.000e-05, It/sec 1.2, Tokens/sec 300.1,"
            " Trained Tokens 1234, Peak mem 5.0 GB\n"
            for step in TENS
        ),
        losses(TENS),
    ),
    "torchtitan": lambda: each(
        TENS,
        lambda step, loss: (
            f"[rank0]:2025-01-01 10:00:00,000 - root - INFO - \x1b[31mstep: {step:2}  \x1b[32mloss: {loss:7.4f}"
            "  \x1b[33mmemory: 10.00GiB(11.0%)  \x1b[34mtps: 1,000  \x1b[36mtflops: 10.0  \x1b[35mmfu: 3.0%\x1b[39m\n"
        ),
    ),
    "MaxText": lambda: each(
        STEPS,
        lambda step, loss: (
            f"completed step: {step}, seconds: 1.01, TFLOP/s/device: 10.1, Tokens/s/device: 1000.5,"
            f" total_weights: 1000, loss: {loss}\n"
        ),
    ),
    "CLU": lambda: each(
        STEPS,
        lambda step, loss: (
            f"I0101 10:00:00.000123 140 logging_writer.py:48] [{step}] learning_rate=0.001, train_loss={loss}\n"
        ),
        metric="train_loss",
    ),
    "XGBoost": lambda: each(
        range(10),
        lambda step, loss: f"[{step}]\ttrain-logloss:{loss}\teval-logloss:0.65000\n",
        metric="train-logloss",
    ),
    "OpenNMT": lambda: each(
        TENS,
        lambda step, loss: (
            f"[2025-01-01 10:00:00,000 INFO] Step {step}/  100; acc: 10.1; ppl: 500.1; xent: {loss}; lr: 0.00100;"
            " sents:   64; bsz: 1000/ 900/64; 1000/900 tok/s;     10 sec;\n"
        ),
        metric="xent",
    ),
    "PaddleNLP": lambda: each(
        STEPS,
        lambda step, loss: (
            f"[2025-01-01 10:00:00,000] [    INFO] - loss: {loss}, learning_rate: 1e-05, global_step: {step},"
            " interval_runtime: 1.2345, interval_steps_per_second: 0.81, progress_or_epoch: 0.1\n"
        ),
    ),
    "verl": lambda: each(
        STEPS,
        lambda step, loss: (
            f"step:{step} - actor/pg_loss:{loss} - actor/grad_norm:0.51 - critic/rewards/mean:0.5\n"
        ),
        metric="actor/pg_loss",
    ),
    "Composer": composer,
    "OLMo": olmo,
    "logfmt": lambda: each(
        STEPS,
        lambda step, loss: f'time=2025-01-01T10:00:00Z level=info msg="train" step={step} loss={loss}\n',
    ),
    "loguru": lambda: each(
        STEPS,
        lambda step, loss: (
            f"2025-01-01 10:00:00.123 | INFO     | __main__:train:42 - step {step}, loss {loss}\n"
        ),
    ),
    "JSON lines": lambda: each(STEPS, lambda step, loss: f'{{"step": {step}, "loss": {loss}, "lr": 1e-5}}\n'),
    "dict after a step": lambda: each(
        STEPS, lambda step, loss: f"Step {step}: {{'loss': {loss}, 'lr': 1e-05}}\n"
    ),
    "key=value": lambda: each(STEPS, lambda step, loss: f"step={step} loss={loss} lr=1e-5\n"),
    "without steps": lambda: each(STEPS, lambda step, loss: f"loss: {loss}\n"),
}
