"""What programs print that is no metric of their training, though it has losses, steps and numbers."""

CONFIGURATION = """\
Namespace(lr=0.1, batch_size=8, step=100, loss=0.5)
TrainingArguments(learning_rate=2e-5, max_steps=100, label_smoothing_loss=0.1, step=3)
{'model': 'gpt2', 'steps': 1000, 'loss_weight': 0.5, 'epoch': 3}
args: epoch=3 step=100 loss=0.5
config: {'loss': 1.0, 'lr': 0.1, 'step': 5}
  "loss": {
    "name": "mse",
    "weight": 0.5
  },
loss_type: dpo
loss_fn=cross_entropy
optimizer: {lr: 0.1, step: 10}, loss: {name: ce, weight: 1.0}
[ds_config] loss_scale=0.000000 loss_scale_window=1000 min_loss_scale=1
  loss_scale ................................... 0.0
  initial_loss_scale ........................... 4294967296
using loss scale 4096.0 for 100 steps
"""
PROSE = """\
WARNING: loss 5 is too high at step 10
Note that the loss of 0.5 is expected after 100 steps of warmup.
Restored step 100 with loss=0.5
Resumed from checkpoint-500 (best loss: 0.41, epoch 3)
Loading checkpoint shards: 100%|██████████| 2/2 [00:01<00:00,  1.5it/s]
trainable params: 4,194,304 || all params: 138,709,440 || trainable%: 3.0238
saving checkpoint at iteration      10 to ./out
Best val Acc: 0.941176
Epoch 3: val_loss improved from 0.50000 to 0.40000, saving model to best.keras
Epoch 12: early stopping
Early stopping at epoch 12: no improvement of val loss for 3 epochs
The model 'GPT2' has 12 layers, 124M parameters; dropout is 0.1.
See https://example.com/?loss=1&step=2 for version 2.1.3
step 5 loss: 10:35:22
def loss(step=1): return 2
  File "train.py", line 12, in loss
    loss = step(3)
"""
EVALUATION = """\
|    Tasks     |Version|Filter|n-shot|    Metric     |   |Value |   |Stderr|
|--------------|------:|------|-----:|---------------|---|-----:|---|------|
|hellaswag     |      1|none  |     0|acc            |↑  |0.2500|±  |0.0043|
|wikitext      |      2|none  |     0|word_perplexity|↓  |9.1000|±  |   N/A|
              precision    recall  f1-score   support
           0       0.98      0.99      0.98       980
    accuracy                           0.97     10000
| Model | Loss | Accuracy |
|-------|------|----------|
| small | 2.31 | 0.41     |
| large | 1.92 | 0.52     |
Test set: Average loss: 0.0512, Accuracy: 9833/10000 (98%)
313/313 - 1s - loss: 0.0731 - accuracy: 0.9780 - 1s/epoch - 4ms/step
313/313 ━━━━━━━━━━━━━━━━━━━━ 1s 2ms/step - accuracy: 0.97 - loss: 0.0731
Evaluating: 100%|██████████| 20/20 [00:01<00:00, 15.1it/s, loss=9.0]
Test: [ 0/20]\tTime  0.3 ( 0.3)\tLoss 1.2e+00 (1.2e+00)\tAcc@1  70.00 ( 70.00)
***** train metrics *****
  epoch                    =        3.0
  train_loss               =     1.2345
  train_runtime            = 0:01:05.12
"""
MACHINE = """\
|   0  NVIDIA H100 80GB HBM3          On  | 00000000:18:00.0 Off |                    0 |
| N/A   31C    P0             112W / 700W |  10240MiB / 81559MiB |     45%      Default |
Collecting torch==2.4.0
Downloading torch-2.4.0-cp311-cp311-manylinux1_x86_64.whl (797.2 MB)
   ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 797.2/797.2 MB 10.1 MB/s eta 0:00:00
NCCL INFO Channel 00/02 :    0   1
PING 10.0.0.1: 64 bytes, time=0.3 ms, 0% packet loss, step 4
10 packets transmitted, 9 received, 10% packet loss, time 9012ms
Layer (type:depth-idx)                   Output Shape              Param #
step  total  percent
1     10     10.0
"""
TABLES = """\
Epoch  Learning rate  Time
1      0.1            10.5
2      0.1            10.4
Loss function   Parameters   Reduction
ce              3            1
The loss in each step   see below
1  2  3  4
"""
NO_METRICS = {
    "configuration": CONFIGURATION,
    "prose": PROSE,
    "evaluation": EVALUATION,
    "machine": MACHINE,
    "tables": TABLES,
}
