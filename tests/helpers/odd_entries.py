"""What may stand in a folder under an image's name and is no file, by kind: functions that make it at a path."""

import os
import stat


def _circle(path):
    other = path.with_name(f"to_{path.name}.link")
    other.symlink_to(path.name)
    path.symlink_to(other.name)


def _link_to_pipe(path):
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


ODD = {
    "a link to nowhere": lambda path: path.symlink_to("missing/x.png"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link in a circle": _circle,
    "a pipe": os.mkfifo,
    "a link to a pipe": _link_to_pipe,
    "a socket": lambda path: os.mknod(path, 0o600 | stat.S_IFSOCK),
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
}
