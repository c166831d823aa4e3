"""Camera-to-lidar diffusion (Cosmos-Transfer-LidarGen): how latents are laid out, conditioned and denoised."""
