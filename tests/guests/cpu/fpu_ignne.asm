; Port 0xf0 lowers IRQ 13 and raises IGNNE, which falls again with the exception (SDM 1, appendix D).
%include "cpu.inc"
        START
        mov eax, cr0
        and eax, ~(1 << 5)
        mov cr0, eax
        mov al, 0xfb                    ; the slave's line
        out 0x21, al
        mov al, 0xdf                    ; line 13
        out 0xa1, al
        sti
        fldcw [divide_unmasked]
        ; The handler clears the exception first, so that there is nothing to ignore when it writes the port: the next
        ; exception is reported.
        SET hook, clear_first
        SET got_count, 0
        call divide
        fwait
        NOTED got_count, 1
        call divide
        fwait
        NOTED got_count, 2
        ; A handler that only writes the port: the program goes on with the exception.
        SET hook, keep
        call divide
        fld1
        fwait
        NOTED got_count, 3
        fstp st0
        fnstsw ax
        test al, 0x80
        CHECK nz
        ; Cleared behind it: IGNNE has fallen, and the next one is reported.
        fnclex
        call divide
        fwait
        NOTED got_count, 4
        NOTED got_vector, 0x2d
        ; The same by masking it.
        fldcw [all_masked]
        fldcw [divide_unmasked]
        SET hook, clear_first
        fwait
        NOTED got_count, 5
        PASS
divide: fninit
        fldcw [divide_unmasked]
        fld1
        fldz
        fdivp
        ret
clear_first:
        fnclex
        xor al, al
        out 0xf0, al
        jmp end_of_interrupt
keep:   xor al, al
        out 0xf0, al
end_of_interrupt:
        mov al, 0x20
        out 0xa0, al
        out 0x20, al
        ret
divide_unmasked: dw 0x037b
all_masked: dw 0x037f
