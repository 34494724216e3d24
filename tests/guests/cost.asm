; What it costs to get into a handler or another context and back: COUNT times the CASE that it is assembled for.
;
;     nasm -fbin -I tests/guests/cpu/ -D CASE=int32 -D COUNT=1000
;
; The handlers do no more than is needed to come back.
%include "cpu.inc"

TIMER       equ 60                      ; counts of the PIT between two interrupts: 50 us
DIRECTORY2  equ 0x300000                ; a second address space
STACK2      equ PAGE4

%macro WRMSR 2
        mov ecx, %1
        mov eax, %2
        xor edx, edx
        wrmsr
%endmacro
; Runs its argument COUNT times; ESI counts.
%macro TIMES 1+
        mov esi, COUNT
%%next: %1
        dec esi
        jnz %%next
%endmacro
%macro TIMER_ON 0
        mov al, 0x34
        out 0x43, al
        mov al, TIMER
        out 0x40, al
        mov al, 0
        out 0x40, al
        mov al, 0xfe
        out 0x21, al
        sti
%endmacro
; A vector of real mode. Changes AX and FS.
%macro VECTOR 2
        xor ax, ax
        mov fs, ax
        mov word [fs:(%1) * 4], REAL(%2)
        mov word [fs:(%1) * 4 + 2], SEG16
%endmacro

        START
%ifidn CASE, int16
        TO_REAL
        VECTOR 0x40, handler
        TIMES int 0x40
        PASS
handler:
        iret

%elifidn CASE, undefined16
        TO_REAL
        VECTOR UD, handler
        TIMES ud2
        PASS
handler:
        push bp
        mov bp, sp
        add word [bp + 2], 2
        pop bp
        iret

%elifidn CASE, timer16
        TO_REAL
        VECTOR 0x20, handler
        TIMER_ON
        TIMES hlt
        PASS
handler:
        push ax
        mov al, 0x20
        out 0x20, al
        pop ax
        iret

%elifidn CASE, int32
        GATE 0x40, CODE, handler, 0x8e
        TIMES int 0x40
        PASS
handler:
        iret

%elifidn CASE, user32
        GATE 0x40, CODE, handler, 0xee
        TO_RING3
        TIMES int 0x40
        TO_RING0
        PASS
handler:
        iret

%elifidn CASE, undefined32
        GATE UD, CODE, handler, 0x8e
        TIMES ud2
        PASS
handler:
        add dword [esp], 2
        iret

%elifidn CASE, page32
        PAGING
        MAP PAGE1, 0
        GATE PF, CODE, handler, 0x8e
        mov ebx, PAGE1
        TIMES mov al, [ebx]
        PASS
handler:
        add esp, 4
        add dword [esp], 2
        iret

%elifidn CASE, timer32
        GATE 0x20, CODE, handler, 0x8e
        TIMER_ON
        TIMES hlt
        PASS
handler:
        push eax
        mov al, 0x20
        out 0x20, al
        pop eax
        iret

%elifidn CASE, sysenter32
        WRMSR 0x174, CODE
        WRMSR 0x175, ist1_end
        WRMSR 0x176, handler
        TO_RING3
        mov esi, COUNT
        mov edx, back
again:  mov ecx, esp
        sysenter
back:   dec esi
        jnz again
        TO_RING0
        PASS
handler:
        sysexit

%elifidn CASE, space32
        PAGING
        mov esi, page_directory
        mov edi, DIRECTORY2
        mov ecx, 1024
        rep movsd
        mov ebx, page_directory
        mov ebp, DIRECTORY2
        mov edx, STACK2
%macro SWITCH 0
        xchg ebx, ebp
        mov cr3, ebx
        xchg esp, edx
        push eax
        pop eax
%endmacro
        TIMES SWITCH
        PASS

; Two switches each time.
%elifidn CASE, task32
        DESC SLOT1, task2, 103, 0x89, 0
        mov dword [task2 + 32], other
        mov dword [task2 + 36], 2
        mov dword [task2 + 56], ist1_end
        mov dword [task2 + 72], DATA
        mov dword [task2 + 76], CODE
        mov dword [task2 + 80], DATA
        mov dword [task2 + 84], DATA
        TIMES jmp SLOT1:0
        PASS
other:  jmp TSS_MAIN:0
        jmp other
        align 4
task2:  times 104 db 0

%elifidn CASE, int64
        TO_LONG
        GATE64 0x40, CODE, handler, 0x8e, 0
        TIMES int 0x40
        PASS
handler:
        iretq

%elifidn CASE, user64
        TO_LONG
        GATE64 0x40, CODE, handler, 0xee, 0
        TO_RING3_64
        TIMES int 0x40
        TO_RING0
        PASS
handler:
        iretq

%elifidn CASE, undefined64
        TO_LONG
        GATE64 UD, CODE, handler, 0x8e, 0
        TIMES ud2
        PASS
handler:
        add qword [rsp], 2
        iretq

%elifidn CASE, page64
        TO_LONG
        MAP64 PAGE1, 0, 0
        GATE64 PF, CODE, handler, 0x8e, 0
        mov ebx, PAGE1
        TIMES mov al, [rbx]
        PASS
handler:
        add rsp, 8
        add qword [rsp], 2
        iretq

%elifidn CASE, timer64
        TO_LONG
        GATE64 0x20, CODE, handler, 0x8e, 0
        TIMER_ON
        TIMES hlt
        PASS
handler:
        push rax
        mov al, 0x20
        out 0x20, al
        pop rax
        iretq

%elifidn CASE, syscall64
        TO_LONG
        mov ecx, 0xc0000081
        xor eax, eax
        mov edx, 0x18 << 16 | CODE
        wrmsr
        WRMSR 0xc0000082, handler
        WRMSR 0xc0000084, F_IF
        TO_RING3_64
        TIMES syscall
        TO_RING0
        PASS
handler:
        o64 sysret

%elifidn CASE, space64
        TO_LONG
        mov esi, pml4
        mov edi, DIRECTORY2
        mov ecx, 512
        rep movsq
        mov ebx, pml4
        mov ebp, DIRECTORY2
        mov edx, STACK2
%macro SWITCH 0
        xchg rbx, rbp
        mov cr3, rbx
        xchg rsp, rdx
        push rax
        pop rax
%endmacro
        TIMES SWITCH
        PASS

%else
%error no such case
%endif
