; ARPL writes only where it raises the RPL, so that it may look at a segment which cannot be written (SDM 2A, ARPL).
%include "cpu.inc"
        START
        DESC SLOT1, 0, 0xfffff, 0x91, 0xc
        mov ax, SLOT1
        mov fs, ax
        mov dword [scratch], 0x12
        mov ebx, 3
        FAULTS GP, 0, {arpl [fs:scratch], bx}
        mov ebx, 2
        QUIET arpl [fs:scratch], bx
        mov ebx, 1
        arpl [fs:scratch], bx
        CHECK nz
        mov ebx, 3
        arpl [scratch], bx
        CHECK z
        NOTED scratch, 0x13
        PASS
