; IN, OUT, INS and OUTS at level 3: IOPL, then the bitmap in the TSS, a bit for each byte (SDM 1, 18.5).
%include "cpu.inc"
        START
        TO_RING3
        mov esi, scratch
        mov edi, scratch
        mov dx, 0x80
        FAULTS GP, 0, in al, 0x80
        FAULTS GP, 0, out 0x80, al
        FAULTS GP, 0, in al, dx
        FAULTS GP, 0, insb
        FAULTS GP, 0, outsb
        mov ecx, 5
        FAULTS GP, 0, rep insb
        CHECK_EQ ecx, 5
        CHECK_EQ edi, scratch
        TO_RING0
        ; Two ports allowed, 0x80 and 0x81.
        and byte [io_bitmap + 0x80 / 8], ~3 & 0xff
        TO_RING3
        mov dx, 0x80
        mov esi, scratch
        QUIET out 0x80, al
        QUIET out dx, ax
        QUIET in al, 0x81
        QUIET outsb
        FAULTS GP, 0, in eax, dx
        mov dx, 0x81
        FAULTS GP, 0, in ax, dx
        ; A word whose bits lie in two bytes of the bitmap.
        mov dx, 0x7f
        FAULTS GP, 0, in ax, dx
        TO_RING0
        and byte [io_bitmap + 0x7f / 8], 0x7f
        TO_RING3
        mov dx, 0x7f
        QUIET in ax, dx
        ; Beyond the end of the TSS; the last byte must be followed by another.
        mov dx, 0x320
        FAULTS GP, 0, in al, dx
        TO_RING0
        ; With IOPL 3 nothing is asked.
        pushfd
        or dword [esp], F_IOPL
        popfd
        TO_RING3
        mov dx, 0x320
        QUIET in al, dx
        QUIET in eax, dx
        TO_RING0
        pushfd
        and dword [esp], ~F_IOPL
        popfd
        ; A bitmap that begins beyond the limit allows nothing. The guest's end is at level 0.
        mov word [tss + 102], tss_bytes
        TO_RING3
        FAULTS GP, 0, out 0x80, al
        TO_RING0
        PASS
