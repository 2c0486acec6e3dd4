"""Proximal policy optimization of answers: Schulman et al. 2017 (arXiv:1707.06347), as Ouyang et al. 2022 used it.

The policy writes an answer to each prompt of a rollout. An answer earns its reward at its last token
(arXiv:2203.02155), and pays at every token for having moved away from the reference, the model as it began:
-coefficient * (log p - log p_ref) (arXiv:1909.08593). Advantages are estimated by generalised advantage estimation
(arXiv:1506.02438); then a few passes of optimizer steps over the rollout climb the clipped objective.

options     the settings of a recipe
advantages  what rewards count for, what each token earned, how much better that was than expected
losses      the clipped losses and their metrics
policy      log-probabilities, entropies and values of answers; the reference
values      what guesses the value: a head on the policy, or a small network of its own
rollouts    answers drawn and put into batches
generation  the policy as it writes, and all that its answers are judged by
chance      random numbers, each of which follows from the seed and from where the run is
longest     the costliest step, tried before the first
loop        the trainer, with the face of transformers' own, its optimizer and schedule
"""
