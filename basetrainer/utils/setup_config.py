"""The path at which programs import what reads, saves and merges their config."""

from basetrainer.checkpoint.workspace import create_workspace, parser_work_space
from basetrainer.config.parser import (
    load_config,
    parser_config,
    parser_config_file,
    parser_config_name,
    print_dict,
    save_config,
)
from basetrainer.config.settings import (
    Config,
    blaming,
    dict2easy,
    easy2dict,
    get,
    origin_of,
    update_dict,
)

__all__ = [
    "Config",
    "blaming",
    "create_workspace",
    "dict2easy",
    "easy2dict",
    "get",
    "load_config",
    "origin_of",
    "parser_config",
    "parser_config_file",
    "parser_config_name",
    "parser_work_space",
    "print_dict",
    "save_config",
    "update_dict",
]
