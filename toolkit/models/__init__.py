"""What the toolkit must know of diffusers' models. This is the only package that imports diffusers."""
