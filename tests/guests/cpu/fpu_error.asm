; #MF with CR0.NE: at the next waiting instruction, not at those that do not wait (SDM 1, 8.7).
%include "cpu.inc"
        START
        fninit
        fldcw [divide_unmasked]
        fld1
        fldz
        fdivp                           ; 1 / 0: noted, nothing raised yet
        fnstsw ax
        test ax, 0x80
        CHECK nz
        test ax, 4
        CHECK nz
        FAULTS MF, 0, fwait
        FAULTS MF, 0, fld1
        FAULTS MF, 0, fldcw [divide_unmasked]
        FAULTS MF, 0, emms
        fnstcw [scratch]
        fnclex
        QUIET fwait
        fnstsw ax
        test ax, 0x84
        CHECK z
        ; Unmasking what is pending raises it at the next one.
        fninit
        fld1
        fldz
        fdivp
        QUIET fwait
        fldcw [divide_unmasked]
        FAULTS MF, 0, fwait
        PASS
divide_unmasked: dw 0x037b
