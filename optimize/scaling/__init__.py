"""Where may a per-channel scale move without changing what the network computes?

Exact help before FP16 and INT8. Run these passes on the canonical model, after `FoldLayerNorms`
(which would move the scales of the norms back) and before the other rewrites:
`exact_rewrites(scaling=[…])` does so. Simulated quantization, bias correction and adaptive
rounding in torch lie here too; they are trades, not exact.
"""
