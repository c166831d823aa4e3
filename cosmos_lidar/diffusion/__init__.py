"""Noise schedules, preconditioning and samplers."""
