; FNSAVE, FRSTOR, FXSAVE, FXRSTOR: MMX and x87 registers are the same, tags, TOP, MXCSR and XMM (SDM 1, 8.1, 10.5).
%include "cpu.inc"
        START
        mov eax, cr4
        or eax, 1 << 9
        mov cr4, eax
        fninit
        fld1
        fldpi
        fnsave [scratch]
        mov ax, [scratch + 8]           ; tags: R6 and R7 valid
        CHECK_EQ ax, 0x0fff
        mov ax, [scratch + 4]
        and ax, 0x3800
        CHECK_EQ ax, 6 << 11
        fnstsw ax
        CHECK_EQ ax, 0
        frstor [scratch]
        fxsave [scratch + 0x100]
        mov al, [scratch + 0x104]
        CHECK_EQ al, 0xc0
        ; ST0 is first.
        mov ax, [scratch + 0x100 + 0x28]
        CHECK_EQ ax, 0x4000
        mov ax, [scratch + 0x100 + 0x38]
        CHECK_EQ ax, 0x3fff
        ; MMX: TOP 0, all valid, exponents all ones.
        mov eax, 0x12345678
        movd mm3, eax
        fxsave [scratch + 0x100]
        mov al, [scratch + 0x104]
        CHECK_EQ al, 0xff
        mov ax, [scratch + 0x102]
        test ax, 0x3800
        CHECK z
        mov eax, [scratch + 0x100 + 0x20 + 3 * 16]
        CHECK_EQ eax, 0x12345678
        mov ax, [scratch + 0x100 + 0x28 + 3 * 16]
        CHECK_EQ ax, 0xffff
        emms
        movd xmm5, [scratch]
        movdqa [scratch + 0x100 + 0xa0 + 5 * 16], xmm5
        mov dword [scratch + 0x100 + 0xa0 + 5 * 16 + 4], 0x99
        mov dword [scratch + 0x100 + 0x18], 0x1fa0
        fxrstor [scratch + 0x100]
        stmxcsr [scratch]
        CHECK_EQ dword [scratch], 0x1fa0
        psrldq xmm5, 4
        movd eax, xmm5
        CHECK_EQ eax, 0x99
        FAULTS GP, 0, fxsave [scratch + 8]
        PASS
