; Hardware task switches by JMP, CALL and IRET with 32-bit TSSs: registers, busy bits, NT, the link, CR3, LDTR, CR0.TS
; (SDM 3A, 7.3).
%include "cpu.inc"
        START
        DESC SLOT1, task, 103, 0x89, 0
        DESC LDT, ldt, 15, 0x82, 0
        mov dword [task + 0x20], entry
        mov dword [task + 0x24], 2 | F_CF
        mov dword [task + 0x28], 0xa1a1a1a1     ; EAX
        mov dword [task + 0x2c], 0xc1c1c1c1     ; ECX
        mov dword [task + 0x38], ist1_end
        mov dword [task + 0x44], 0xd1d1d1d1     ; EDI
        mov dword [task + 0x48], DATA
        mov dword [task + 0x4c], CODE
        mov dword [task + 0x50], DATA
        mov dword [task + 0x54], 0x0c           ; DS: the LDT's second
        mov dword [task + 0x58], DATA
        mov dword [task + 0x60], LDT
        ; CALL: nested.
        mov ebx, 0x12345678
        mov esi, esp
        call SLOT1:0xdead
back:   CHECK_EQ ebx, 0x12345678
        CHECK_EQ esp, esi
        CHECK_EQ dword [seen], 1
        CHECK_EQ dword [eax_seen], 0xa1a1a1a1
        CHECK_EQ dword [edi_seen], 0xd1d1d1d1
        test dword [flags_seen], F_NT
        CHECK nz
        test dword [flags_seen], F_CF
        CHECK nz
        mov ax, [task]
        CHECK_EQ ax, TSS_MAIN
        CHECK_EQ byte [busy], 0x8b
        CHECK_EQ byte [busy + 1], 0x8b
        CHECK_EQ byte [ds_seen], 0x0c
        CHECK_EQ byte [ldtr_seen], LDT
        CHECK_EQ byte [tr_seen], SLOT1
        ; Saved of this task: EIP behind the CALL.
        mov eax, [tss + 0x20]
        CHECK_EQ eax, back
        mov eax, [tss + 0x34]
        CHECK_EQ eax, 0x12345678
        mov al, [gdt + SLOT1 + 5]
        CHECK_EQ al, 0x89
        mov eax, cr0
        test eax, 8
        CHECK nz
        clts
        ; IRET saved the other behind it.
        mov eax, [task + 0x20]
        CHECK_EQ eax, behind
        ; JMP: not nested, this task is no longer busy.
        mov dword [task + 0x20], jumped
        mov dword [task + 0x24], 2
        jmp SLOT1:0
again:  CHECK_EQ dword [seen], 2
        test dword [flags_seen], F_NT
        CHECK z
        CHECK_EQ byte [busy], 0x89
        CHECK_EQ byte [busy + 1], 0x8b
        mov al, [gdt + TSS_MAIN + 5]
        CHECK_EQ al, 0x8b
        ; Errors: busy, not present, not a TSS of the GDT.
        mov byte [gdt + SLOT1 + 5], 0x8b
        FAULTS GP, SLOT1, jmp SLOT1:0
        mov byte [gdt + SLOT1 + 5], 0x09
        FAULTS NP, SLOT1, jmp SLOT1:0
        mov byte [gdt + SLOT1 + 5], 0x89
        mov word [gdt + SLOT1], 102
        FAULTS TS, SLOT1, jmp SLOT1:0
        FAULTS GP, TSS_MAIN, jmp TSS_MAIN:0
        PASS

entry:  mov [ss:eax_seen], eax
        mov ax, ds
        mov [ss:ds_seen], al
        mov ax, DATA
        mov ds, ax
        mov [edi_seen], edi
        call note
        iret
behind: NEVER
jumped: mov ax, DATA
        mov ds, ax
        call note
        jmp TSS_MAIN:0
note:   inc dword [seen]
        pushfd
        pop dword [flags_seen]
        mov al, [gdt + TSS_MAIN + 5]
        mov [busy], al
        mov al, [gdt + SLOT1 + 5]
        mov [busy + 1], al
        sldt ax
        mov [ldtr_seen], al
        str ax
        mov [tr_seen], al
        ret
seen:   dd 0
eax_seen: dd 0
edi_seen: dd 0
flags_seen: dd 0
busy:   dw 0
ds_seen: db 0
ldtr_seen: db 0
tr_seen: db 0
        align 8
ldt:    dq 0, 0x00cf93000000ffff
        align 16
task:   times 104 db 0
