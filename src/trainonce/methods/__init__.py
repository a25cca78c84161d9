"""The catalogue: a folder a site, a file a method; probes too."""
