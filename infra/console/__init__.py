"""`tramo console`: what the mesh does now, who calls whom, and why something fails, as a page on this machine."""
