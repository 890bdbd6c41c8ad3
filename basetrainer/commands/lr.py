"""``basetrainer lr``: the learning rate of a configuration, as a picture or as a table."""

from __future__ import annotations

import argparse

from basetrainer._epochs import epoch_number
from basetrainer.config.keys import check_key
from basetrainer.config.parser import load_config
from basetrainer.config.settings import get
from basetrainer.errors import ConfigError, MissingExtraError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser("lr", help="draw the learning rate of a configuration")
    parser.add_argument("-c", "--config_file", required=True, help="a YAML file of settings")
    parser.add_argument("--num_steps", type=int, default=100, help="batches of an epoch (100)")
    parser.add_argument("--out", default="lr.png", help="the picture (lr.png)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw the picture; without matplotlib print a table of epochs.

    Raises:
        ConfigError: If the configuration has no schedule, or a wrong one.
    """
    import torch  # not above: the other commands, and --version, shall not wait for it

    from basetrainer.scheduler.build_scheduler import get_scheduler
    from basetrainer.scheduler.draw import draw_lr, lr_curve

    cfg = load_config(args.config_file)
    name = get(cfg, "scheduler")
    if not name:
        raise ConfigError(f"{args.config_file} names no scheduler. Set e.g. scheduler: cosine")
    lr = check_key("lr", get(cfg, "lr", 0.1), args.config_file)
    num_epochs = check_key("num_epochs", get(cfg, "num_epochs", 1), args.config_file)
    given = {key: get(cfg, key) for key in ("milestones", "num_warn_up")}
    given |= check_key("scheduler_args", get(cfg, "scheduler_args"), args.config_file)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = get_scheduler(name, optimizer, lr, num_epochs, args.num_steps, **given)
    curve = lr_curve(scheduler)
    try:
        path = draw_lr({name: curve}, args.out, updates_per_epoch=args.num_steps)
    except MissingExtraError as error:
        print(f"{error}\n\nepoch  first lr   last lr")
        for epoch in range(num_epochs):
            rates = curve[epoch * args.num_steps : (epoch + 1) * args.num_steps]
            print(f"{epoch_number(epoch):5d}  {rates[0]:<9.4g}  {rates[-1]:<9.4g}")
        return 0
    first, top, last = curve[0], max(curve), curve[-1]
    print(f"{path}: {num_epochs} epochs, from {first:.4g} over {top:.4g} to {last:.4g}")
    return 0
