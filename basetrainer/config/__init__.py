"""From YAML files and command lines to the config of a run."""
