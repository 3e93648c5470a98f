"""How plans draw themselves: SVG and HTML made from plain integers."""
