"""Where a recorded Linux has its kernel and its modules. Used by the scripts for GDB and for LLDB.

The kernel may have been moved as it booted (KASLR). The handler of page faults is in the interrupt table, and in the file
with the symbols: the difference of the two addresses is how far.
"""

import struct

PAGE_FAULT = 14
# Since 5.8, since 5.1, before.
PAGE_FAULT_NAMES = ("asm_exc_page_fault", "asm_page_fault", "page_fault")
BANNER = b"Linux version "
MODULES_MAX = 1000
# The part of `struct module` behind the name in which its address is looked for.
MODULE_BYTES = 1024
MODULE_NAME_BYTES = 56
SHF_ALLOC, SHF_EXECINSTR = 2, 4


class NotFound(Exception):
    """Why nothing was found."""


class Elf:
    """Symbols and sections of an ELF file."""

    def __init__(self, path):
        self.path = path
        try:
            with open(path, "rb") as file:
                self.data = file.read()
        except OSError as reason:
            raise NotFound(str(reason))
        if self.data[:4] != b"\x7fELF":
            raise NotFound("%s is no ELF file. The kernel that boots is compressed: "
                           "this needs the file vmlinux of its build." % path)
        self.wide = self.data[4] == 2
        try:
            self.sections = list(self._sections())
        except (struct.error, IndexError):
            raise NotFound("%s is damaged." % path)

    def _sections(self):
        if self.wide:
            offset, = struct.unpack_from("<Q", self.data, 0x28)
            size, count, names = struct.unpack_from("<HHH", self.data, 0x3a)
            form, order = "<IIQQQQIIQQ", (0, 1, 2, 3, 4, 5, 6, 8)
        else:
            offset, = struct.unpack_from("<I", self.data, 0x20)
            size, count, names = struct.unpack_from("<HHH", self.data, 0x2e)
            form, order = "<IIIIIIIIII", (0, 1, 2, 3, 4, 5, 6, 8)
        raw = []
        for index in range(count):
            fields = struct.unpack_from(form, self.data, offset + index * size)
            raw.append([fields[i] for i in order])
        strings = raw[names][4] if count else 0
        for name, kind, flags, address, start, length, link, align in raw:
            yield {"name": self._string(strings + name), "kind": kind, "flags": flags, "address": address,
                   "offset": start, "size": length, "link": link, "align": align}

    def _string(self, start):
        return self.data[start:self.data.index(b"\0", start)].decode("utf-8", "replace")

    def symbols(self, wanted):
        """Addresses of those symbols that there are."""
        found = {}
        for table in (s for s in self.sections if s["kind"] == 2):
            strings = self.sections[table["link"]]["offset"]
            step = 24 if self.wide else 16
            for at in range(table["offset"], table["offset"] + table["size"], step):
                if self.wide:
                    name, _info, _other, _index, value = struct.unpack_from("<IBBHQ", self.data, at)
                else:
                    name, value = struct.unpack_from("<II", self.data, at)
                text = self._string(strings + name) if name else ""
                if text in wanted:
                    found[text] = value
        return found

    def executable_sections(self, base):
        """Where the kernel's loader puts the code of a module (layout_sections in kernel/module)."""
        places, at = {}, base
        for section in self.sections:
            code = SHF_ALLOC | SHF_EXECINSTR
            if section["flags"] & code == code and not section["name"].startswith(".init"):
                align = max(section["align"], 1)
                at = (at + align - 1) // align * align
                places[section["name"]] = at
                at += section["size"]
        return places


class Found:
    """What to load where."""

    def __init__(self):
        # Path, offset to the addresses in the file, and for modules their sections' addresses instead.
        self.files = []
        # For the user.
        self.lines = []


def page_fault_handler(machine, wide):
    """From the interrupt descriptor table (Intel SDM vol. 3, 6.11 and 6.14.1)."""
    base = machine.register("idt_base")
    if base is None:
        raise NotFound("The server shows no idt_base: is this Retrograde?")
    size = 16 if wide else 8
    gate = machine.read(base + PAGE_FAULT * size, size)
    if gate is None:
        raise NotFound("The interrupt table is not mapped here. Go to where Linux runs: rg seek end")
    low, _selector, _flags, middle = struct.unpack_from("<HHHH", gate)
    high = struct.unpack_from("<I", gate, 8)[0] if wide else 0
    return high << 32 | middle << 16 | low


def modules(machine, head, wide):
    """Name and address of the code of each loaded module."""
    word = 8 if wide else 4
    form = "<Q" if wide else "<I"
    entry, seen = head, []
    for _ in range(MODULES_MAX):
        data = machine.read(entry, word)
        if data is None:
            return seen
        entry, = struct.unpack(form, data)
        if entry == head:
            return seen
        data = machine.read(entry, 2 * word + MODULE_BYTES)
        if data is None:
            return seen
        # The name stands behind the list's two links.
        name = data[2 * word:2 * word + MODULE_NAME_BYTES].split(b"\0")[0].decode("ascii", "replace")
        seen.append((name, code_of(data, 2 * word + MODULE_NAME_BYTES, entry, word, form)))
    return seen


def code_of(data, start, entry, word, form):
    """A page-aligned address near the structure itself, which lies in the same region, with a size behind it."""
    for at in range(start, len(data) - word - 4, word):
        address, = struct.unpack_from(form, data, at)
        size, = struct.unpack_from("<I", data, at + word)
        if address and address % 4096 == 0 and abs(address - entry) < 1 << 30 and 0 < size < 1 << 26:
            return address
    return None


def find(machine, vmlinux, files):
    """Finds the kernel of `vmlinux` and the modules of `files`, each NAME=FILE, in a machine that offers
    `register(name)` and `read(address, length)`, which are None where there is nothing."""
    elf = Elf(vmlinux)
    symbols = elf.symbols(set(PAGE_FAULT_NAMES) | {"linux_banner", "modules"})
    name = next((name for name in PAGE_FAULT_NAMES if name in symbols), None)
    if name is None:
        raise NotFound("%s has no symbol %s: this needs the file vmlinux of the kernel's build." %
                       (vmlinux, PAGE_FAULT_NAMES[0]))
    offset = page_fault_handler(machine, elf.wide) - symbols[name]
    if offset % 4096:
        raise NotFound("This is not the kernel of %s, or its interrupt table is not set up yet: "
                       "go to where Linux runs, for example rg seek end" % vmlinux)
    found = Found()
    found.files.append((vmlinux, offset, None))
    moved = "not moved" if offset == 0 else "moved by %#x (KASLR)" % offset
    found.lines.append("%s: %s" % (vmlinux, moved))
    if "linux_banner" in symbols:
        banner = machine.read(symbols["linux_banner"] + offset, 256)
        if banner is not None and not banner.startswith(BANNER):
            raise NotFound("At the place of linux_banner there is something else: "
                           "this is not the kernel of %s." % vmlinux)
        if banner is not None:
            found.lines.append(banner.split(b"\0")[0].decode("ascii", "replace").strip())
    if files:
        find_modules(machine, elf, symbols, offset, files, found)
    return found


def find_modules(machine, elf, symbols, offset, files, found):
    if "modules" not in symbols:
        raise NotFound("%s has no symbol modules." % elf.path)
    loaded = dict(modules(machine, symbols["modules"] + offset, elf.wide))
    for pair in files:
        name, equals, path = pair.partition("=")
        if not equals:
            raise NotFound("Write a module as NAME=FILE, for example e1000=/lib/modules/.../e1000.ko")
        name = name.replace("-", "_")
        if loaded.get(name) is None:
            raise NotFound("The module %s is not loaded here; these are: %s" %
                           (name, ", ".join(sorted(loaded)) or "none"))
        places = Elf(path).executable_sections(loaded[name])
        found.files.append((path, 0, places))
        found.lines.append("%s: code at %#x" % (name, loaded[name]))
