; #XM of an unmasked SSE exception with CR4.OSXMMEXCPT, #UD without; reserved bits of MXCSR; alignment (SDM 1, 11.5).
%include "cpu.inc"
        START
        mov eax, cr4
        or eax, 1 << 9 | 1 << 10
        mov cr4, eax
        mov dword [scratch], 0x1f80
        ldmxcsr [scratch]
        xorps xmm0, xmm0
        movss xmm1, [one]
        divss xmm1, xmm0
        stmxcsr [scratch]
        mov eax, [scratch]
        test eax, 4
        CHECK nz
        mov dword [scratch], 0x1f80 & ~0x200
        ldmxcsr [scratch]
        movss xmm1, [one]
        FAULTS 19, 0, divss xmm1, xmm0
        movd eax, xmm1
        CHECK_EQ eax, 0x3f800000
        mov eax, cr4
        and eax, ~(1 << 10)
        mov cr4, eax
        FAULTS UD, 0, divss xmm1, xmm0
        mov dword [scratch], 0x80000000
        FAULTS GP, 0, ldmxcsr [scratch]
        FAULTS GP, 0, movaps xmm0, [scratch + 1]
        QUIET movups xmm0, [scratch + 1]
        PASS
one:    dd 0x3f800000
