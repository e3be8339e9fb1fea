"""Instruction tuning on records: the paper's two stages, LoRA, distillation, replay."""
