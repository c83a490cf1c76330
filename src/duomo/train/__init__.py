"""From examples to weights.

the loop      loop: job (in and out), prefetch, gradient, optim, schedule, seed, guard, clock
kept          checkpoint, log, reproducibility (what equality to the last bit depends on)
beforehand    preflight (how long it will take), probe (the fastest execution), adapt and lora (from weights that exist), head,
              mirrors (whether pictures may be mirrored)
afterwards    council: boosted_trees, linear (lbfgs, ridge), learners, holdout   counts, sides, hashed: what is fitted beside a net
"""
