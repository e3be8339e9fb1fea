"""Instruction tuning of any checkpoint on records: full, LoRA, distillation, replay."""
