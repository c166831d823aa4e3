"""Multi-view video diffusion: several cameras of a vehicle, generated together from their first frames and a text."""
