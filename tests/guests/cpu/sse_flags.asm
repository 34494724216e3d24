; The flags of MXCSR, masked and unmasked (SDM 1, 11.5), and what does not set them.
; QEMU 7.2 raises no #XM.
%include "cpu.inc"
%macro MXCSR 1
        mov dword [scratch], %1
        ldmxcsr [scratch]
%endmacro
%macro FLAGS_ARE 1
        stmxcsr [scratch]
        mov eax, [scratch]
        and eax, 0x3f
        CHECK_EQ eax, %1
        MXCSR 0x1f80
%endmacro
        START
        mov eax, cr4
        or eax, 1 << 9 | 1 << 10
        mov cr4, eax
        MXCSR 0x1f80
        movss xmm0, [one]
        divss xmm0, [three]
        FLAGS_ARE 0x20
        xorps xmm0, xmm0
        divss xmm0, xmm0
        FLAGS_ARE 0x01
        movss xmm0, [one]
        xorps xmm1, xmm1
        divss xmm0, xmm1
        FLAGS_ARE 0x04
        movss xmm0, [huge]
        mulss xmm0, xmm0
        FLAGS_ARE 0x28
        movss xmm0, [tiny]
        mulss xmm0, xmm0
        FLAGS_ARE 0x30
        cvtss2si eax, [huge]
        CHECK_EQ eax, 0x80000000
        FLAGS_ARE 0x01
        ; An estimate has no exceptions.
        movss xmm0, [three]
        rcpss xmm1, xmm0
        rsqrtss xmm1, xmm0
        FLAGS_ARE 0
        ; FXSAVE sees them, and FXRSTOR replaces them.
        movss xmm0, [one]
        divss xmm0, [three]
        fxsave [scratch + 0x100]
        mov eax, [scratch + 0x100 + 0x18]
        CHECK_EQ eax, 0x1fa0
        mov dword [scratch + 0x100 + 0x18], 0x1f81
        fxrstor [scratch + 0x100]
        FLAGS_ARE 0x01
        ; Flushed to zero.
        MXCSR 0x9f80
        movss xmm0, [small]
        mulss xmm0, [half]
        movd ebx, xmm0
        CHECK_EQ ebx, 0
        FLAGS_ARE 0x30
        ; And the x87 is not.
        MXCSR 0x9f80
        fninit
        fld dword [small]
        fmul dword [half]
        fstp dword [scratch + 8]
        CHECK_EQ dword [scratch + 8], 0x00400000
        MXCSR 0x1f80
        ; Unmasked precision: the destination keeps its value, the flag is set, other elements do not matter.
        MXCSR 0x0f80
        movss xmm0, [one]
        FAULTS 19, 0, divss xmm0, [three]
        movd ebx, xmm0
        CHECK_EQ ebx, 0x3f800000
        FLAGS_ARE 0x20
        ; An exception found before the computation hides those of its result.
        MXCSR 0x1f80 & ~0x80
        movaps xmm0, [pair]
        FAULTS 19, 0, divps xmm0, [by]
        movd ebx, xmm0
        CHECK_EQ ebx, 0x3f800000
        FLAGS_ARE 0x01
        ; What is masked is only noted.
        MXCSR 0x1f80 & ~0x80
        movss xmm0, [one]
        QUIET divss xmm0, [three]
        FLAGS_ARE 0x20
        ; EFLAGS are not changed by a comparison that is refused.
        MXCSR 0x1f80 & ~0x80
        movss xmm0, [nan]
        xor eax, eax
        inc eax
        FAULTS 19, 0, comiss xmm0, xmm0
        ; Bits that do not exist.
        mov dword [scratch], 0x10000
        FAULTS GP, 0, ldmxcsr [scratch]
        mov dword [scratch + 0x100 + 0x18], 0x11f80
        FAULTS GP, 0, fxrstor [scratch + 0x100]
        PASS
        align 16
pair:   dd 1.0, 0.0, 1.0, 1.0
by:     dd 3.0, 0.0, 1.0, 1.0
one:    dd 1.0
three:  dd 3.0
half:   dd 0.5
huge:   dd 1e38
tiny:   dd 1e-38
small:  dd 0x00800000
nan:    dd 0x7fc00000
