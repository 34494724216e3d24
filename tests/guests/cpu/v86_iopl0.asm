; Virtual-8086 mode with IOPL 0: CLI, STI, PUSHF, POPF, INT n and IRET are #GP(0); INT3 and INTO are not; I/O asks the bitmap alone
; (SDM 3A, 20.2.7, 20.2.8).
%include "cpu.inc"
        START
        GATE 0x41, CODE, entry_65, 0xee
        GATE BREAK, CODE, entry_3, 0xee
        TO_V86 0
        FAULTS GP, 0, cli
        FAULTS GP, 0, sti
        FAULTS GP, 0, pushf
        FAULTS GP, 0, popf
        FAULTS GP, 0, pushfd
        FAULTS GP, 0, iret
        FAULTS GP, 0, int 0x41
        TRAPS BREAK, 0, int3
        FAULTS GP, 0, in al, 0x80
        mov dx, 0x80
        FAULTS GP, 0, out dx, ax
        FROM_V86
        and byte [io_bitmap + 0x80 / 8], 0xfc
        TO_V86 0
        QUIET in al, 0x80
        FROM_V86
        TO_V86 F_IOPL
        QUIET in al, 0x80
        FAULTS GP, 0, in al, 0x90
        FROM_V86
        PASS
