; What x87 instructions give for operands at the edge (SDM 2A, FPREM, FPREM1, FYL2X, FISTTP, FBSTP, FLDCW, FLD).
; QEMU 7.2 keeps all bits of the control word.
%include "cpu.inc"
%define C0 0x100
%define C1 0x200
%define C2 0x400
%define C3 0x4000
%macro CODES_ARE 1
        fnstsw ax
        and ax, C0 | C1 | C2 | C3 | 0xff
        CHECK_EQ ax, %1
        fnclex
%endmacro
%macro ST0_IS 3
        fstp tword [scratch]
        CHECK_EQ dword [scratch], %3
        CHECK_EQ dword [scratch + 4], %2
        CHECK_EQ word [scratch + 8], %1
%endmacro
        START
        ; The remainder is exact, however large the quotient is.
        fninit
        fld tword [three_tenths]
        fld tword [large]
        fprem
        CODES_ARE C0 | C1
        ST0_IS 0x3ffb, 0xccb9da29, 0x5dff7778
        ; In several passes, if it is beyond 2^63.
        fninit
        fild dword [three]
        fild dword [hundred]
        fld1
        fscale
        fstp st1
        fprem
        CODES_ARE C2
        fld st0
        fstp tword [scratch]
        CHECK_EQ word [scratch + 8], 0x403f
        fprem
        CODES_ARE C0 | C1
        ST0_IS 0x3fff, 0x80000000, 0
        ; The nearest quotient, the even one of two.
        fninit
        fild dword [two]
        fild dword [three]
        fprem1
        CODES_ARE C3
        ST0_IS 0xbfff, 0x80000000, 0
        ; There is none by zero.
        fninit
        fldz
        fld1
        fprem
        CODES_ARE 1
        ST0_IS 0xffff, 0xc0000000, 0
        ; The logarithm of zero, and of a negative number; the operand is popped.
        fninit
        fld1
        fldz
        fyl2x
        CODES_ARE 4
        ST0_IS 0xffff, 0x80000000, 0
        fninit
        fld1
        fld1
        fchs
        fyl2x
        CODES_ARE 1
        ST0_IS 0xffff, 0xc0000000, 0
        ; Integers that do not fit.
        fninit
        fld tword [large]
        fisttp dword [scratch]
        CHECK_EQ dword [scratch], 0x80000000
        CODES_ARE 1
        fld tword [large]
        fmul st0
        fisttp qword [scratch]
        CHECK_EQ dword [scratch], 0
        CHECK_EQ dword [scratch + 4], 0x80000000
        fld tword [large]
        fmul st0
        fbstp [scratch]
        CHECK_EQ word [scratch + 8], 0xffff
        fnclex
        fild dword [three]
        fisttp dword [scratch]
        CHECK_EQ dword [scratch], 3
        fnstsw ax
        CHECK_EQ ax, 0
        ; Bits of the control word that do not exist.
        fldcw [ones]
        fnstcw [scratch]
        CHECK_EQ word [scratch], 0x1f7f
        fldcw [masked]
        fnstcw [scratch]
        CHECK_EQ word [scratch], 0x037f
        ; A signalling NaN becomes quiet where it is converted, and only there.
        fninit
        fld dword [snan]
        fld1
        fnclex
        fucompp
        CODES_ARE C0 | C2 | C3
        fld dword [snan]
        ST0_IS 0x7fff, 0xc1111100, 0
        CODES_ARE C0 | C2 | C3 | 1
        fld qword [snan64]
        fld tword [snan80]
        ST0_IS 0x7fff, 0x81111100, 1
        ST0_IS 0xffff, 0xe0000000, 0x800
        CODES_ARE C0 | C2 | C3 | 1
        ; A conversion from memory does not make the registers MMX's.
        mov eax, cr4
        or eax, 1 << 9
        mov cr4, eax
        fninit
        cvtpi2ps xmm0, [two]
        fld1
        fnstsw ax
        CHECK_EQ ax, 7 << 11
        PASS
three_tenths: dd 0x9999999a, 0x99999999
        dw 0x3ffd
large:  dd 0xa0000000, 0xe35fa931
        dw 0x4030
snan80: dd 1, 0x81111100
        dw 0x7fff
align 4
snan:   dd 0x7f811111
snan64: dd 1, 0xfff40000
two:    dd 2
three:  dd 3
hundred: dd 100
ones:   dw 0xffff
masked: dw 0x033f
