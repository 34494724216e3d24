"""LLDB commands for recordings: `command script import retrograde_lldb.py`, by hand or from ~/.lldbinit.

rg seek WHERE        go to a position, a time, a mark, an interrupt, and show where that is
rg mark NAME         name this place
rg who-wrote EXPR    go to the step that wrote a variable last
rg reverse-stepi [N] back by instructions
rg reverse-step      back to the line before, into functions
rg reverse-next      back to the line before, over functions
rg reverse-finish    back to where this function was called
rg finish            out of this function, where LLDB finds no caller too
rg forward           LLDB goes forward again from here: continue, next, step
rg call NAME(ARGS)   calls a function of the guest, in a diversion
rg linux VMLINUX [NAME=FILE ...]  symbols of a Linux kernel and of its modules
rg events, timeline, irqs, marks, where, checkpoints, console
monitor COMMAND      any command of the server
"""

import os
import re
import shlex
import sys

import lldb

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import retrograde_linux  # noqa: E402

# A line that takes more steps than this back is not left by single steps.
# Bytes of the longest instruction.
INSTRUCTION_MAX = 15
STEPS_MAX = 100000
# RET and RETF, with and without a number.
RETURNS = (b"\xc3", b"\xc2", b"\xcb", b"\xca")
IRET, IRETQ = b"\xcf", b"\x48\xcf"


class Error(Exception):
    """Shown to the user."""


class SomethingElse(Error):
    """The machine has stopped for something that was not waited for."""


def console(debugger, command):
    """Runs an LLDB command; what it shows."""
    answer = lldb.SBCommandReturnObject()
    debugger.GetCommandInterpreter().HandleCommand(command, answer)
    if not answer.Succeeded():
        raise Error((answer.GetError() or "LLDB refuses: " + command).strip())
    return answer.GetOutput() or ""


def monitor(debugger, command):
    """Runs a command of the server; its answer."""
    shown = console(debugger, "process plugin packet monitor " + command)
    answer = shown.rsplit("  packet: qRcmd", 1)[0]
    if answer.startswith("error: "):
        raise Error(answer[len("error: "):].strip())
    return answer


def without_hint(answer):
    """An answer without the remark that LLDB does not know yet."""
    return answer.split("LLDB still shows", 1)[0]


class Machine:
    """The machine behind LLDB's process."""

    def __init__(self, debugger):
        self.debugger = debugger
        self.target = debugger.GetSelectedTarget()
        self.process = self.target.GetProcess()
        if self.process.GetState() != lldb.eStateStopped:
            raise Error("Connect first: gdb-remote 1234")

    def monitor(self, command):
        return monitor(self.debugger, command)

    def thread(self):
        return self.process.GetThreadAtIndex(0)

    def frame(self):
        return self.thread().GetFrameAtIndex(0)

    def position(self):
        return int(self.monitor("where").split()[1])

    def synchronously(self, act, synchronous=True):
        """Does something that runs the machine, and comes back when it stands again."""
        was = self.debugger.GetAsync()
        self.debugger.SetAsync(not synchronous)
        try:
            return act()
        finally:
            self.debugger.SetAsync(was)

    def seek(self, where):
        """Goes somewhere."""
        self.monitor("seek " + where)
        self.look_again()

    def look_again(self):
        """LLDB looks at the machine when it stops. So it goes on, and the server stops it at once. After this it goes
        forward: it would keep the direction that it had."""
        self.monitor("stay")
        self.synchronously(lambda: self.process.ContinueInDirection(lldb.eRunForward))

    def tell_lldb_dap(self):
        """lldb-dap shows a place when it hears that LLDB has stopped there, which only what nobody waits for tells it."""
        answer = lldb.SBCommandReturnObject()
        # Nowhere else is there such a command.
        self.debugger.GetCommandInterpreter().HandleCommand("help lldb-dap", answer)
        if answer.Succeeded():
            self.monitor("stay")
            self.synchronously(lambda: self.process.ContinueInDirection(lldb.eRunForward), synchronous=False)

    def look(self):
        """The program counter and the stack pointer as they are, whatever LLDB thinks."""
        registers = []
        pc, sp = ("p10", "p7") if self.target.GetAddressByteSize() == 8 else ("p8", "p4")
        for packet in (pc, sp):
            shown = console(self.debugger, "process plugin packet send " + packet)
            digits = shown.rsplit("response: ", 1)[1].strip()
            registers.append(int.from_bytes(bytes.fromhex(digits), "little"))
        return registers

    def line_at(self, pc):
        """File and line, and the start of the function."""
        address = self.target.ResolveLoadAddress(pc)
        context = self.target.ResolveSymbolContextForAddress(address, lldb.eSymbolContextEverything)
        entry = context.GetLineEntry()
        start = context.GetFunction().GetStartAddress()
        if not start.IsValid():
            start = context.GetSymbol().GetStartAddress()
        line = (entry.GetFileSpec().fullpath, entry.GetLine()) if entry.IsValid() else None
        return line, start.GetLoadAddress(self.target) if start.IsValid() else None

    def run_to(self, direction, pc, sp):
        """To where `pc` runs and the stack pointer is `sp` or above."""
        breakpoint = self.target.BreakpointCreateByAddress(pc)
        try:
            while True:
                self.synchronously(lambda: self.process.ContinueInDirection(direction))
                stopped = self.thread().GetStopReason()
                if stopped != lldb.eStopReasonBreakpoint or self.look()[0] != pc:
                    raise SomethingElse("Something else stopped on the way.")
                if self.look()[1] >= sp:
                    break
        finally:
            self.target.BreakpointDelete(breakpoint.GetID())

    def call_of(self, start, sp):
        """Back to the call of the function that starts at `start` and whose return address lies at `sp` or above."""
        self.run_to(lldb.eRunReverse, start, sp)
        self.monitor("seek -1")

    def back(self, sp, over):
        """Back by one instruction, or by a whole call if that is at its end; program counter, stack pointer and
        line there."""
        self.monitor("seek -1")
        pc, now = self.look()
        line, start = self.line_at(pc)
        if over and now < sp:
            code = self.process.ReadMemory(pc, 2, lldb.SBError()) or b""
            if code[:1] in RETURNS and start is not None:
                self.call_of(start, now)
                pc, now = self.look()
            elif code[:1] in RETURNS or code[:1] == IRET or code == IRETQ:
                # It has no call, or where its function begins is not known.
                for _ in range(STEPS_MAX):
                    if now >= sp:
                        break
                    self.monitor("seek -1")
                    pc, now = self.look()
            line, _ = self.line_at(pc)
        return pc, now, line

    def step_back(self, over):
        """Back to the beginning of the line that ran before, or of this one from its middle; by an instruction where no
        line is known."""
        pc, sp = self.look()
        if self.line_at(pc)[0] is None:
            if self.position() != 0:
                self.back(sp, over)
            self.look_again()
            return
        target = None
        for _ in range(STEPS_MAX):
            if self.position() == 0:
                break
            pc, sp, line = self.back(sp, over)
            if target is not None and line != target:
                self.monitor("seek +1")
                break
            if line is not None and self.starts(pc):
                break
            target = line
        self.look_again()

    def starts(self, pc):
        """Whether a line starts at `pc`. LLDB has an entry for each column, which does not count."""
        entry = self.target.ResolveLoadAddress(pc).GetLineEntry()
        begins = entry.IsValid() and entry.GetStartAddress().GetLoadAddress(self.target) == pc
        return begins and self.line_at(pc - 1)[0] != self.line_at(pc)[0]

    def to_the_call(self):
        """Back to the call of the function that runs, or to the place that an interrupt has left for it."""
        pc, sp = self.look()
        _, start = self.line_at(pc)
        if start is None:
            raise Error("No function is known at %#x." % pc)
        if self.position() == 0:
            raise Error("Its call is not in the recording.")
        if pc == start:
            self.monitor("seek -1")
        else:
            self.call_of(start, sp)

    def finish_back(self):
        """Back to the call of the function that runs."""
        self.to_the_call()
        self.look_again()

    def finish(self):
        """On to where the function that runs returns to. What is known of its call tells where that is."""
        here = self.position()
        enabled = [breakpoint for breakpoint in self.target.breakpoint_iter() if breakpoint.IsEnabled()]
        enabled += [watchpoint for watchpoint in self.target.watchpoint_iter() if watchpoint.IsEnabled()]
        try:
            for stop in enabled:
                stop.SetEnabled(False)
            self.to_the_call()
            caller, above = self.look()
            self.monitor("seek +1")
            word = self.process.ReadPointerFromMemory(self.look()[1], lldb.SBError())
        finally:
            for stop in enabled:
                stop.SetEnabled(True)
            self.seek("%d" % here)
        is_call = caller < word <= caller + INSTRUCTION_MAX
        try:
            self.run_to(lldb.eRunForward, word if is_call else caller, above)
        except SomethingElse:
            # What the user waits for comes before it.
            pass


class Call:
    """A call of a function of the guest, as its compiler would write it: integers and pointers, on the stack in 32-bit code,
    in registers in 64-bit code (System V ABI)."""

    ARGUMENT_REGISTERS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
    # Below the stack pointer a function of the latter may have variables.
    RED_ZONE = 128

    def __init__(self, machine):
        self.machine = machine
        self.width = machine.target.GetAddressByteSize()
        self.names = ("rax", "rsp", "rip") if self.width == 8 else ("eax", "esp", "eip")

    def get(self, name):
        return self.machine.frame().FindRegister(name).GetValueAsUnsigned()

    def set(self, name, value):
        error = lldb.SBError()
        self.machine.frame().FindRegister(name).SetValueFromCString("%#x" % value, error)
        if error.Fail():
            raise Error("%s cannot be written; first: monitor divert" % name)

    def push(self, address, words):
        data = b"".join((word & ((1 << 8 * self.width) - 1)).to_bytes(self.width, "little") for word in words)
        error = lldb.SBError()
        self.machine.process.WriteMemory(address, data, error)
        if error.Fail():
            raise Error("the stack at %#x cannot be written" % address)

    def run(self, start, arguments):
        """Calls it; the value of the register that it returns something in."""
        result, stack, counter = self.names
        kept = {value.GetName(): value.GetValueAsUnsigned()
                for value in self.machine.frame().GetRegisters()[0] if value.GetByteSize() <= self.width}
        back = kept[counter]
        if self.width == 8:
            if len(arguments) > len(self.ARGUMENT_REGISTERS):
                raise Error("at most %d arguments" % len(self.ARGUMENT_REGISTERS))
            for name, value in zip(self.ARGUMENT_REGISTERS, arguments):
                self.set(name, value)
            self.set("rax", 0)
            words = [back]
            top = (kept[stack] - self.RED_ZONE & -16) - 8
        else:
            words = [back] + arguments
            top = (kept[stack] - 4 * len(arguments) & -16) - 4
        self.push(top, words)
        self.set(stack, top)
        self.set(counter, start)
        self.go_on_to(back, top + self.width)
        value = self.get(result)
        for name in kept:
            if kept[name] != self.get(name):
                self.set(name, kept[name])
        return value

    def go_on_to(self, back, sp):
        """Until the function has returned; interrupts may come to the same place meanwhile."""
        breakpoint = self.machine.target.BreakpointCreateByAddress(back)
        forward = lambda: self.machine.process.ContinueInDirection(lldb.eRunForward)
        try:
            while True:
                self.machine.synchronously(forward)
                thread = self.machine.thread()
                if thread.GetStopReason() != lldb.eStopReasonBreakpoint or self.get(self.names[2]) != back:
                    raise Error("Something else stopped in the function: %s" % thread.GetStopDescription(80))
                if self.get(self.names[1]) == sp:
                    return
        finally:
            self.machine.target.BreakpointDelete(breakpoint.GetID())


def evaluated(machine, expression):
    value = machine.frame().EvaluateExpression(expression)
    if value.GetError().Fail():
        raise Error(value.GetError().GetCString().strip())
    return value.GetValueAsUnsigned()


def call(machine, text, result):
    parts = re.fullmatch(r"([^()]+)\((.*)\)", text)
    if not parts:
        raise Error("Write a call: rg call mix(1)")
    name, arguments = parts.group(1).strip(), parts.group(2).strip()
    if " in a diversion " not in machine.monitor("where"):
        raise Error("A call changes the machine; first: monitor divert")
    found = machine.target.FindFunctions(name)
    context = found.GetContextAtIndex(0)
    if found.GetSize():
        function, symbol = context.GetFunction(), context.GetSymbol()
        address = (function if function.IsValid() else symbol).GetStartAddress().GetLoadAddress(machine.target)
        kind = function.GetType().GetFunctionReturnType() if function.IsValid() else None
    else:
        address, kind = evaluated(machine, name), None
    values = [evaluated(machine, argument) for argument in arguments.split(",")] if arguments else []
    value = Call(machine).run(address, values)
    if kind is None or not kind.IsValid():
        result.AppendMessage("%#x" % value)
    elif kind.GetByteSize():
        width = machine.target.GetAddressByteSize()
        data = lldb.SBData.CreateDataFromUInt64Array(lldb.eByteOrderLittle, width, [value])
        result.AppendMessage(str(machine.target.CreateValueFromData(name, data, kind)))
    result.AppendMessage(without_hint(machine.monitor("where")).strip())


def show(machine, result):
    """Shows the place as LLDB does when it stops."""
    result.AppendMessage(without_hint(machine.monitor("where")).strip())
    result.AppendMessage(console(machine.debugger, "frame select 0").rstrip())
    machine.tell_lldb_dap()


def who_wrote(machine, expression, result):
    value = machine.frame().EvaluateExpression(expression)
    if value.GetError().Fail():
        raise Error(value.GetError().GetCString())
    address = value.GetLoadAddress()
    if address == lldb.LLDB_INVALID_ADDRESS:
        raise Error("%s has no address in memory." % expression)
    answer = machine.monitor("last-write %#x %d" % (address, value.GetByteSize()))
    result.AppendMessage(answer.splitlines()[0])
    if "go there: monitor seek " in answer:
        machine.seek(answer.rsplit(" ", 1)[1].strip())
        show(machine, result)


class LinuxReader:
    """Memory and registers for retrograde_linux."""

    def __init__(self, machine):
        self.machine = machine

    def read(self, address, length):
        error = lldb.SBError()
        data = self.machine.process.ReadMemory(address, length, error)
        return data if error.Success() else None

    def register(self, name):
        value = self.machine.frame().FindRegister(name)
        return value.GetValueAsUnsigned() if value.IsValid() else None


def linux(machine, argument, result):
    words = shlex.split(argument)
    if not words:
        raise Error("Write the file with the symbols: rg linux vmlinux")
    try:
        found = retrograde_linux.find(LinuxReader(machine), words[0], words[1:])
    except retrograde_linux.NotFound as reason:
        raise Error(str(reason))
    for path, offset, sections in found.files:
        module = machine.target.AddModule(path, None, None)
        if not module.IsValid():
            raise Error("LLDB cannot read %s." % path)
        if sections is None:
            error = machine.target.SetModuleLoadAddress(module, offset)
            if error.Fail():
                raise Error(error.GetCString())
        else:
            for name, address in sections.items():
                section = module.FindSection(name)
                if section.IsValid():
                    machine.target.SetSectionLoadAddress(section, address)
    for line in found.lines:
        result.AppendMessage(line)


PASSED = ("mark", "marks", "irqs", "where", "checkpoints", "console", "events", "timeline")


def rg(debugger, command, result, _internal):
    """Walk through a recording: rg seek, mark, who-wrote, reverse-step, ...; `rg help` lists all."""
    verb, _, argument = command.strip().partition(" ")
    argument = argument.strip()
    try:
        if verb in ("", "help"):
            result.AppendMessage(__doc__.strip())
            return
        machine = Machine(debugger)
        if verb == "seek":
            if not argument:
                raise Error("Write a place: rg seek 50%")
            machine.seek(argument)
            show(machine, result)
        elif verb == "reverse-stepi":
            machine.seek("-%d" % int(argument or "1", 0))
            show(machine, result)
        elif verb in ("reverse-step", "reverse-next"):
            machine.step_back(over=verb == "reverse-next")
            show(machine, result)
        elif verb == "reverse-finish":
            machine.finish_back()
            show(machine, result)
        elif verb == "finish":
            machine.finish()
            show(machine, result)
        elif verb == "forward":
            machine.look_again()
            show(machine, result)
        elif verb == "call":
            call(machine, argument, result)
        elif verb == "who-wrote":
            if not argument:
                raise Error("Write a variable: rg who-wrote counter")
            who_wrote(machine, argument, result)
        elif verb == "linux":
            linux(machine, argument, result)
        elif verb in PASSED:
            result.AppendMessage(machine.monitor((verb + " " + argument).strip()).rstrip())
        else:
            raise Error("There is no rg %s; `rg help` lists what there is." % verb)
    except (Error, ValueError) as reason:
        result.SetError(str(reason))


def pass_to_server(debugger, command, result, _internal):
    """A command of the server: monitor where."""
    try:
        result.AppendMessage(monitor(debugger, command).rstrip())
    except Error as reason:
        result.SetError(str(reason))


def __lldb_init_module(debugger, _internal):
    debugger.HandleCommand("command script add -o -f retrograde_lldb.rg rg")
    debugger.HandleCommand("command script add -o -f retrograde_lldb.pass_to_server monitor")
