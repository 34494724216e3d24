; Without CR0.NE an FPU error comes as IRQ 13, and a write to port 0xf0 releases IGNNE (SDM 1, D.2.1; PC/AT reference).
%include "cpu.inc"
        START
        mov eax, cr0
        and eax, ~(1 << 5)
        mov cr0, eax
        mov al, 0xfb                    ; the slave's line
        out 0x21, al
        mov al, 0xdf                    ; line 13
        out 0xa1, al
        SET hook, note
        SET got_count, 0
        sti
        fldcw [divide_unmasked]
        fld1
        fldz
        fdivp
        fwait
        nop
        nop
        NOTED got_count, 1
        NOTED got_vector, 0x2d
        fnstsw ax
        test ax, 0x80
        CHECK z
        PASS
note:   xor al, al
        out 0xf0, al
        fnclex
        mov al, 0x20
        out 0xa0, al
        out 0x20, al
        ret
divide_unmasked: dw 0x037b
