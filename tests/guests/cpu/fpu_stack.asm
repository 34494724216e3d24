; Overflow and underflow of the x87's stack, masked and unmasked (SDM 1, 8.5.1.1).
; QEMU 7.2 pushes onto registers in use and takes from empty ones.
%include "cpu.inc"
%define IE 0x01
%define SF 0x40
%define C0 0x100
%define C1 0x200
%define C2 0x400
%define C3 0x4000
; Exceptions, SF, condition codes and TOP; then the exceptions are cleared.
%macro STATUS_IS 1
        fnstsw ax
        CHECK_EQ ax, %1
        fnclex
%endmacro
%define TOP(n) ((n) << 11)
; ST(0) is the indefinite value.
%macro INDEFINITE 0
        fstp tword [scratch]
        CHECK_EQ dword [scratch], 0
        CHECK_EQ dword [scratch + 4], 0xc0000000
        CHECK_EQ word [scratch + 8], 0xffff
%endmacro
%macro FILL 0
        fninit
%rep 8
        fldz
%endrep
%endmacro
        START
        ; Eight fit, the ninth does not.
        FILL
        STATUS_IS TOP(0)
        fld1
        STATUS_IS TOP(7) | IE | SF | C1
        INDEFINITE
        FILL
        fild dword [three]
        STATUS_IS TOP(7) | IE | SF | C1
        INDEFINITE
        FILL
        fld st3
        STATUS_IS TOP(7) | IE | SF | C1
        INDEFINITE
        ; A register that was freed, or popped, is empty.
        FILL
        ffree st7
        fld1
        STATUS_IS TOP(7)
        fstp st0
        fld1
        STATUS_IS TOP(7)
        ; Underflow of arithmetic: its destination, and what it pops.
        fninit
        fld1
        fadd st0, st1
        STATUS_IS TOP(7) | IE | SF
        INDEFINITE
        fninit
        fld1
        faddp st1, st0
        STATUS_IS TOP(0) | IE | SF
        INDEFINITE
        fninit
        fadd dword [three]
        STATUS_IS TOP(0) | IE | SF
        INDEFINITE
        fninit
        fsqrt
        STATUS_IS TOP(0) | IE | SF
        INDEFINITE
        fninit
        fsincos
        STATUS_IS TOP(7) | IE | SF
        INDEFINITE
        INDEFINITE
        fninit
        fld1
        fyl2x
        STATUS_IS TOP(0) | IE | SF
        INDEFINITE
        ; Of comparisons: not ordered.
        fninit
        fld1
        fcompp
        STATUS_IS TOP(1) | IE | SF | C0 | C2 | C3
        fninit
        ftst
        STATUS_IS TOP(0) | IE | SF | C0 | C2 | C3
        fninit
        fld1
        cmp eax, eax
        fcomip st0, st3
        CHECK p
        CHECK c
        CHECK z
        STATUS_IS TOP(0) | IE | SF
        ; Of stores: the indefinite value of the format.
        fninit
        mov dword [scratch], 0
        fst dword [scratch]
        STATUS_IS TOP(0) | IE | SF
        CHECK_EQ dword [scratch], 0xffc00000
        fstp qword [scratch]
        CHECK_EQ dword [scratch], 0
        CHECK_EQ dword [scratch + 4], 0xfff80000
        fnclex
        fistp word [scratch]
        CHECK_EQ word [scratch], 0x8000
        fistp dword [scratch]
        CHECK_EQ dword [scratch], 0x80000000
        fistp qword [scratch]
        CHECK_EQ dword [scratch], 0
        CHECK_EQ dword [scratch + 4], 0x80000000
        fbstp [scratch]
        CHECK_EQ dword [scratch + 4], 0xc0000000
        CHECK_EQ word [scratch + 8], 0xffff
        fninit
        fld1
        fxch st2
        STATUS_IS TOP(7) | IE | SF
        INDEFINITE
        ; An exchange of two in use is none.
        fldz
        fxch st2
        STATUS_IS TOP(7)
        ; FXAM tells an empty register by itself, and its sign.
        fninit
        fldz
        fchs
        fstp st0
        fdecstp
        fxam
        STATUS_IS TOP(7) | C3 | C1 | C0
        ; A store to an empty register makes it one in use.
        fninit
        fld1
        fst st3
        STATUS_IS TOP(7)
        fincstp
        fincstp
        fincstp
        fld1
        fcomip st0, st1
        CHECK z
        STATUS_IS TOP(2)
        ; A fault of the operand comes first.
        FILL
        PAGING
        MAP PAGE1, 0
        FAULTS PF, 0, {fld dword [PAGE1]}
        STATUS_IS TOP(0)
        ; Unmasked: nothing moves, nothing is stored, and the next waiting instruction raises it.
        FILL
        fldcw [invalid_unmasked]
        fld1
        FAULTS MF, 0, fwait
        fnstsw ax
        CHECK_EQ ax, 0x8080 | TOP(0) | IE | SF | C1
        fninit
        fldcw [invalid_unmasked]
        mov dword [scratch], 5
        fstp dword [scratch]
        FAULTS MF, 0, fld1
        CHECK_EQ dword [scratch], 5
        fnstsw ax
        CHECK_EQ ax, 0x8080 | TOP(0) | IE | SF
        ; With CR0.TS it is #NM, and nothing of the above.
        FILL
        mov eax, cr0
        or eax, 8
        mov cr0, eax
        FAULTS NM, 0, fld1
        clts
        STATUS_IS TOP(0)
        PASS
invalid_unmasked: dw 0x037e
three:  dd 3
