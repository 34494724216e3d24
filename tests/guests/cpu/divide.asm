; #DE: by zero, and for quotients that do not fit (SDM 2A, DIV and IDIV); and encodings that stand for others.
; QEMU 7.2 divides -2^63 by -1 itself, and dies of it.
%include "cpu.inc"
%macro OPERANDS 3
        mov edx, %1
        mov eax, %2
        mov ecx, %3
%endmacro
        START
        OPERANDS 0, 5, 0
        FAULTS DE, 0, div ecx
        FAULTS DE, 0, idiv ecx
        FAULTS DE, 0, div cx
        FAULTS DE, 0, div cl
        FAULTS DE, 0, aam 0
        OPERANDS 1, 0, 1
        FAULTS DE, 0, div ecx
        OPERANDS 0, 0x80000000, 1
        FAULTS DE, 0, idiv ecx
        ; The most negative ones.
        OPERANDS 0x80000000, 0, -1
        FAULTS DE, 0, idiv ecx
        CHECK_EQ edx, 0x80000000
        CHECK_EQ eax, 0
        mov [scratch], ecx
        FAULTS DE, 0, idiv dword [scratch]
        OPERANDS 0x8000, 0, -1
        FAULTS DE, 0, idiv cx
        OPERANDS 0, 0x8000, -1
        FAULTS DE, 0, idiv cl
        OPERANDS -1, 0x80000000, -1
        FAULTS DE, 0, idiv ecx
        OPERANDS -1, 0x80000000, 1
        QUIET idiv ecx
        CHECK_EQ eax, 0x80000000
        CHECK_EQ edx, 0
        ; F6 /1 and F7 /1 are TEST too.
        mov ebx, 0x8001
        db 0xf6, 0xcf, 0x80             ; TEST BH, 0x80
        CHECK s
        db 0xf7, 0xcb                   ; TEST EBX, 0x7ffe
        dd 0x7ffe
        CHECK z
        mov dword [scratch], 0x80000003
        db 0xf7, 0x0d                   ; TEST [scratch], 0x80000003
        dd scratch, 0x80000003
        CHECK s
        CHECK p
        CHECK nc
        CHECK_EQ ebx, 0x8001
        ; PREFETCHT0 of a register does nothing.
        QUIET {db 0x0f, 0x18, 0xca}
        PASS
