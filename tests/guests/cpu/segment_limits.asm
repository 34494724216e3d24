; Limits of data segments, expand-down, read-only and execute-only segments (SDM 3A, 5.3, 5.5).
; QEMU has no limits of data segments.
%include "cpu.inc"
        START
        DESC SLOT1, BASE, 0xfff, 0x93, 4        ; 4 KiB
        DESC SLOT2, BASE, 0xfff, 0x97, 4        ; expand-down: 0x1000 and above
        DESC SLOT3, BASE, 0xfffff, 0x91, 0xc    ; read only
        DESC SLOT4, BASE, 0xfffff, 0x99, 0xc    ; execute only
        mov ax, SLOT3
        mov fs, ax
        FAULTS GP, 0, mov [fs:0x8000], al
        QUIET mov al, [fs:0x8000]
        mov ax, SLOT1
        mov fs, ax
        QUIET mov al, [fs:0xfff]
        QUIET mov eax, [fs:0xffc]
        FAULTS GP, 0, mov al, [fs:0x1000]
        FAULTS GP, 0, mov eax, [fs:0xffd]
        mov ax, SLOT2
        mov fs, ax
        QUIET mov al, [fs:0x1000]
        FAULTS GP, 0, mov al, [fs:0xfff]
        FAULTS GP, 0, mov eax, [fs:0xffd]
        ; A null segment faults when it is used.
        xor eax, eax
        mov gs, ax
        FAULTS GP, 0, mov al, [gs:0]
        PASS
