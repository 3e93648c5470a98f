"""What the toolkit must know of diffusers models. The only package that imports diffusers."""
