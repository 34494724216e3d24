; CR2 is the first byte that could not be accessed: loads and stores across a page, strings, the stack, FXSAVE, and what the processor
; itself accesses at level 3: the GDT, the IDT, the TSS's stack (SDM 3A, 6.15, 4.7).
%include "cpu.inc"
        START
        mov eax, cr4
        or eax, 1 << 9
        mov cr4, eax
        PAGING
        MAP PAGE2, 0
        FAULTS PF, 0, mov eax, [PAGE2 - 2]
        NOTED got_cr2, PAGE2
        FAULTS PF, 2, mov [PAGE2 - 1], eax
        NOTED got_cr2, PAGE2
        FAULTS PF, 0, mov eax, [PAGE2 + 0xffe]
        NOTED got_cr2, PAGE2 + 0xffe
        ; A string that comes to the page after some iterations; the registers say how far.
        mov esi, scratch
        mov edi, PAGE2 - 6
        mov ecx, 10
        cld
        FAULTS PF, 2, rep movsd
        NOTED got_cr2, PAGE2
        CHECK_EQ ecx, 9
        CHECK_EQ edi, PAGE2 - 2
        CHECK_EQ esi, scratch + 4
        mov edi, PAGE2 - 4
        mov ecx, 10
        FAULTS PF, 2, rep stosb
        NOTED got_cr2, PAGE2
        CHECK_EQ ecx, 6
        CHECK_EQ edi, PAGE2
        ; FXSAVE.
        FAULTS PF, 2, fxsave [PAGE2 - 0x100]
        NOTED got_cr2, PAGE2
        ; PUSH and POP to memory.
        FAULTS PF, 0, push dword [PAGE2 + 4]
        NOTED got_cr2, PAGE2 + 4
        FAULTS PF, 2, pop dword [PAGE2 + 8]
        NOTED got_cr2, PAGE2 + 8
        ; The GDT in a page that is not there, at level 3: a supervisor's access.
        mov esi, gdt
        mov edi, PAGE3
        mov ecx, gdt_bytes
        rep movsb
        mov word [PAGE1], 0x1fff
        mov dword [PAGE1 + 2], PAGE3
        MAP PAGE4, 0
        lgdt [PAGE1]
        TO_RING3
        mov ax, 0x1003
        FAULTS PF, 0, mov fs, ax
        NOTED got_cr2, PAGE4 + 0
        TO_RING0
        lgdt [gdtr]
        PASS
