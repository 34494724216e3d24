; Contributory faults and page faults on top of each other make a double fault; others come one after the other (SDM 3A, 6-5).
%include "cpu.inc"
        START
        PAGING
        ; #GP whose gate is not present: #NP while delivering #GP.
        GATE GP, CODE, entry_13, 0x0e
        mov ax, 0x7fe8
        FAULTS DF, 0, mov ds, ax
        ; #DE is contributory too.
        GATE DE, CODE, entry_0, 0x0e
        xor ecx, ecx
        FAULTS DF, 0, div ecx
        GATE DE, CODE, entry_0, 0x8e
        ; #UD is benign: #NP comes alone.
        GATE UD, CODE, entry_6, 0x0e
        FAULTS_WITH_ANY_CODE NP, ud2
        GATE UD, CODE, entry_6, 0x8e
        GATE GP, CODE, entry_13, 0x8e
        ; #GP whose handler's gate lies in a page that is not there: #PF after a contributory fault is only #PF.
        ; #PF whose gate is not present: #DF.
        MAP PAGE1, 0
        GATE PF, CODE, entry_14, 0x0e
        FAULTS DF, 0, mov al, [PAGE1]
        GATE PF, CODE, entry_14, 0x8e
        mov eax, cr2
        CHECK_EQ eax, PAGE1
        FAULTS PF, 0, mov al, [PAGE1 + 5]
        ; INT through a gate that is not present is a single fault.
        GATE 0x41, CODE, entry_65, 0x0e
        FAULTS NP, 0x41 * 8 + 2, int 0x41
        ; The task of #DF, from a stack that is not there.
        DESC SLOT1, task, 103, 0x89, 0
        GATE DF, SLOT1, 0, 0x85
        mov dword [task + 0x1c], page_directory
        mov dword [task + 0x20], no_stack
        mov dword [task + 0x24], 2
        mov dword [task + 0x38], ist1_end
        mov dword [task + 0x48], DATA
        mov dword [task + 0x4c], CODE
        mov dword [task + 0x50], DATA
        mov dword [task + 0x54], DATA
        mov esp, PAGE1 + 0x800
        ud2
        NEVER
no_stack:
        pop eax
        CHECK_EQ eax, 0
        mov eax, cr2
        CHECK_EQ eax, PAGE1 + 0x7fc
        mov eax, [tss + 0x38]
        CHECK_EQ eax, PAGE1 + 0x800
        PASS
        align 16
task:   times 104 db 0
