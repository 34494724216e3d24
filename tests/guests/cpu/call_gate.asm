; CALL through a gate from level 3: the new stack, parameters copied, RETF n back; and its checks (SDM 3A, 5.8.3).
%include "cpu.inc"
        START
%macro CALL_GATE 5                      ; slot, selector, offset, access, parameters
        mov eax, %3
        mov word [gdt + %1], ax
        mov word [gdt + %1 + 2], %2
        mov word [gdt + %1 + 4], (%4) << 8 | (%5)
        shr eax, 16
        mov word [gdt + %1 + 6], ax
%endmacro
        CALL_GATE SLOT1, CODE, inner, 0xec, 2
        CALL_GATE SLOT2, CODE, inner, 0x8c, 0
        CALL_GATE SLOT3, CODE, inner, 0x6c, 0
        CALL_GATE SLOT5, DATA, inner, 0xec, 0
        CALL_GATE SLOT6, 0, inner, 0xec, 0
        TO_RING3
        mov esi, esp
        push dword 0x11111111
        push dword 0x22222222
        call SLOT1 | 3:0xdead
after:  CHECK_EQ esp, esi
        CHECK_EQ dword [seen], 1
        CHECK_EQ dword [frame], after
        CHECK_EQ dword [frame + 4], USER_CODE
        CHECK_EQ dword [frame + 8], 0x22222222
        CHECK_EQ dword [frame + 12], 0x11111111
        lea eax, [esi - 8]
        CHECK_EQ [frame + 16], eax
        CHECK_EQ dword [frame + 20], USER_DATA
        CHECK_EQ dword [sp_seen], kernel_stack_end - 24
        mov ax, cs
        CHECK_EQ ax, USER_CODE
        ; The gate's DPL, presence, what it names.
        FAULTS GP, SLOT2, call SLOT2:0
        FAULTS NP, SLOT3, call SLOT3 | 3:0
        FAULTS GP, DATA, call SLOT5 | 3:0
        FAULTS GP, 0, call SLOT6 | 3:0
        ; JMP through it would have to change the level.
        FAULTS GP, CODE, jmp SLOT1 | 3:0
        ; Far calls to other levels without a gate.
        FAULTS GP, CODE, call CODE:0
        FAULTS GP, 0, call 0:0
        FAULTS GP, 0x7fe8, call 0x7fe8:0
        PASS
inner:  call note
        retf 8
note:   inc dword [ss:seen]
        push esi
        push edi
        push ecx
        lea esi, [esp + 16]
        mov [sp_seen], esi
        mov edi, frame
        mov ecx, 6
        cld
        rep movsd
        pop ecx
        pop edi
        pop esi
        ret
seen:   dd 0
sp_seen: dd 0
frame:  times 6 dd 0
