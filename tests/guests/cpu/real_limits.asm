; Real mode: the 64 KiB limit of a segment, #GP and #SS without an error code (SDM 3A, 20.1.1, table 20-1).
; QEMU has no limits of data segments.
%include "cpu.inc"
        START
        TO_REAL
        mov ebx, 0xffff
        QUIET mov al, [bx]
        FAULTS GP, 0, mov ax, [bx]
        mov ebx, 0x10000
        FAULTS GP, 0, mov al, [ebx]
        mov ebp, 0xffff
        FAULTS SS_FAULT, 0, mov ax, [bp]
        PASS
