"""GDB commands for recordings: source this file in GDB, or from ~/.gdbinit.

rg seek WHERE      go to a position, a time, a mark, an interrupt, and show where that is
rg mark NAME       name this place
rg who-wrote EXPR  go to the step that wrote a variable last
rg irqs            the interrupts around here
rg where           position, time and mode
"""

import gdb


def monitor(command):
    """Runs a command of the server; its answer, or an error that GDB shows."""
    answer = gdb.execute("monitor " + command, to_string=True)
    if answer.startswith("error: "):
        raise gdb.GdbError(answer[len("error: "):].rstrip())
    return answer


def seek(where):
    """Goes somewhere, and makes GDB look at the machine anew."""
    monitor("seek " + where)
    gdb.execute("maintenance flush register-cache", to_string=True)
    gdb.execute("maintenance flush dcache", to_string=True)
    gdb.execute("frame")


class Rg(gdb.Command):
    """Walk through a recording: rg seek, mark, who-wrote, irqs, where."""

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
for name in ("mark", "marks", "irqs", "where", "checkpoints", "console"):
    Passed(name)
