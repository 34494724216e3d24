"""GDB commands for recordings: source this file in GDB, or from ~/.gdbinit.

rg seek WHERE      go to a position, a time, a mark, an interrupt, and show where that is
rg mark NAME       name this place
rg who-wrote EXPR  go to the step that wrote a variable last
rg linux VMLINUX [NAME=FILE ...]  symbols of a Linux kernel and of its modules
rg events, timeline, irqs, marks, where, checkpoints, console
"""

import inspect
import os
import sys

import gdb

# GDB 13 does not say where a script is.
HERE = os.path.dirname(os.path.realpath(inspect.currentframe().f_code.co_filename))
sys.path.insert(0, HERE)
import retrograde_linux  # noqa: E402


WATCHPOINTS = (gdb.BP_HARDWARE_WATCHPOINT, gdb.BP_READ_WATCHPOINT, gdb.BP_ACCESS_WATCHPOINT)


def monitor(command):
    """Runs a command of the server; its answer, or an error that GDB shows."""
    try:
        answer = gdb.execute("monitor " + command, to_string=True)
    except UnicodeDecodeError as error:
        # GDB takes what is shown for text in the host's character set, and a guest may write anything.
        answer = error.object.decode("utf-8", "replace")
    if answer.startswith("error: "):
        raise gdb.GdbError(answer[len("error: "):].rstrip())
    return answer


def seek(where):
    """Goes somewhere, and makes GDB look at the machine anew."""
    monitor("seek " + where)
    gdb.execute("maintenance flush register-cache", to_string=True)
    gdb.execute("maintenance flush dcache", to_string=True)
    for watchpoint in gdb.breakpoints():
        if watchpoint.type in WATCHPOINTS and watchpoint.enabled:
            # It remembers the value of the place before, and would pass over a store that puts that one there again.
            watchpoint.enabled = False
            watchpoint.enabled = True
    gdb.execute("frame")


class Rg(gdb.Command):
    """Walk through a recording: rg seek, mark, who-wrote, linux, events, timeline, irqs, where."""

    def __init__(self):
        super().__init__("rg", gdb.COMMAND_RUNNING, prefix=True)


class Seek(gdb.Command):
    """Go to 12345, +10, -10, start, end, 50%, 1.5s, @NAME, or next irq 0x20."""

    def __init__(self):
        super().__init__("rg seek", gdb.COMMAND_RUNNING)

    def invoke(self, argument, from_tty):
        if not argument:
            raise gdb.GdbError("Write a place: rg seek 50%")
        seek(argument)


class WhoWrote(gdb.Command):
    """Go to the step that wrote a variable last, seen from here."""

    def __init__(self):
        super().__init__("rg who-wrote", gdb.COMMAND_RUNNING, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        if not argument:
            raise gdb.GdbError("Write a variable: rg who-wrote counter")
        value = gdb.parse_and_eval(argument)
        if value.address is None:
            raise gdb.GdbError("%s has no address in memory." % argument)
        answer = monitor("last-write %#x %d" % (int(value.address), value.type.sizeof))
        gdb.write(answer.splitlines()[0] + "\n")
        if "go there: monitor seek " in answer:
            seek(answer.rsplit(" ", 1)[1].strip())


class LinuxReader:
    """Memory and registers for retrograde_linux."""

    def read(self, address, length):
        try:
            return bytes(gdb.selected_inferior().read_memory(address, length))
        except gdb.error:
            return None

    def register(self, name):
        value = gdb.parse_and_eval("$" + name)
        return None if value.type.code == gdb.TYPE_CODE_VOID else int(value) & (1 << 64) - 1


class Linux(gdb.Command):
    """Load the symbols of a Linux kernel where this one is: rg linux VMLINUX [NAME=FILE ...].

    VMLINUX is the file of the kernel's build that has symbols; the offset of KASLR is found by itself. NAME=FILE names a
    module that is loaded, and its file. Of modules only functions are found, not variables."""

    def __init__(self):
        super().__init__("rg linux", gdb.COMMAND_FILES, gdb.COMPLETE_FILENAME)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if not words:
            raise gdb.GdbError("Write the file with the symbols: rg linux vmlinux")
        try:
            found = retrograde_linux.find(LinuxReader(), words[0], words[1:])
        except retrograde_linux.NotFound as reason:
            raise gdb.GdbError(str(reason))
        for path, offset, sections in found.files:
            if sections is None:
                gdb.execute('symbol-file "%s" -o %#x' % (path, offset), to_string=True)
            else:
                places = " ".join("-s %s %#x" % place for place in sections.items())
                gdb.execute('add-symbol-file "%s" %s' % (path, places), to_string=True)
        for line in found.lines:
            gdb.write(line + "\n")


class Passed(gdb.Command):
    """A command of the server."""

    def __init__(self, name):
        super().__init__("rg " + name, gdb.COMMAND_DATA)
        self.name = name

    def invoke(self, argument, from_tty):
        gdb.write(monitor((self.name + " " + argument).strip()))


Rg()
Seek()
WhoWrote()
Linux()
for name in ("mark", "marks", "irqs", "where", "checkpoints", "console", "events", "timeline"):
    Passed(name)
