; RETF in real mode: where it leads, what it drops, and a frame that lies on two pages (SDM 2B, RET).
%include "cpu.inc"
        START
        TO_REAL
bits 16
        ; Words, with and without parameters.
        mov bp, sp
        push word 0x1234
        push cs
        push word REAL(.a)
        retf 2
.a:     cmp sp, bp
        CHECK e
        ; Doublewords.
        push dword SEG16
        push dword REAL(.b)
        o32 retf
.b:     cmp sp, bp
        CHECK e
        ; IP at the end of a page and CS on the next, with nothing left in the TLB.
        mov ax, 0x3000
        mov ss, ax
        mov sp, 0x1002
        push cs
        push word REAL(.c)
        mov eax, cr3
        mov cr3, eax
        retf
        NEVER
.c:     cmp sp, 0x1002
        CHECK e
        mov ax, cs
        cmp ax, SEG16
        CHECK e
        mov sp, 0x1002
        push word 0xffff
        push word REAL(.wrong)
        mov word [ss:0x1000], SEG16
        mov eax, cr3
        mov cr3, eax
        retf
.wrong: cmp sp, 0x1002
        CHECK e
        mov ax, SEG16
        mov ss, ax
        mov sp, bp
        ; Beyond the limit.
        push cs
        push dword 0
        push dword 0x10000
        FAULTS GP, 0, o32 retf
        add sp, 10
        cmp sp, bp
        CHECK e
        FROM_REAL
        PASS
