; 32-bit paging, endless: pages that are mapped when they are touched and taken away again, one page under two addresses, code that
; runs at two addresses, two address spaces that differ, and timer and serial interrupts with a handler in both.
;
; Physical: page directories at 0x200000 and 0x201000, tables from 0x202000, variables at 0x210000, frames from 0x300000.
; Linear: the first 4 MiB as they are; from 0x400000 eight pages on demand; 0x480000 is the page of variables again, 0x490000
; that of the code; 0x4a0000 is a page of its own in each space.
%include "busy.inc"

VARIABLES   equ 0x210000
DEMAND      equ 0x400000
ALIAS       equ 0x480000
CODE_ALIAS  equ 0x490000
OWN         equ 0x4a0000

bits 32
org 0x100000

header: dd 0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd header, header, 0, 0, start

start:  mov esp, 0x90000
        lgdt [gdtr]
        jmp 0x08:flat
flat:   mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov ss, ax
        cld
        ; interrupts go to one handler, page faults to another
        mov edi, 0x80000
        mov ecx, 256
gates:  mov eax, interrupt
        cmp ecx, 256 - 14
        jne .put
        mov eax, fault
.put:   mov edx, eax
        and eax, 0xffff
        or eax, 0x00080000
        stosd
        mov eax, edx
        and eax, 0xffff0000
        or eax, 0x8e00
        stosd
        loop gates
        lidt [idtr]
        ; page tables
        mov edi, 0x200000
        xor eax, eax
        mov ecx, 0x5000 / 4
        rep stosd
        mov edi, 0x202000
        mov eax, 3
        mov ecx, 1024
.same:  stosd
        add eax, 0x1000
        loop .same
        mov dword [0x200000], 0x202003
        mov dword [0x200004], 0x203003
        mov dword [0x201000], 0x202003
        mov dword [0x201004], 0x204003
        mov dword [0x203000 + 0x80 * 4], VARIABLES + 3
        mov dword [0x204000 + 0x80 * 4], VARIABLES + 3
        mov dword [0x203000 + 0x90 * 4], 0x100003
        mov dword [0x204000 + 0x90 * 4], 0x100003
        mov dword [0x203000 + 0xa0 * 4], 0x3a0003
        mov dword [0x204000 + 0xa0 * 4], 0x3b0003
        mov eax, 0x200000
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80010000
        mov cr0, eax
        BUSY_CHIPS 0x20, 60
        sti
        xor ebx, ebx

again:  inc ebx
        mov [VARIABLES], ebx
        mov [ALIAS + 8], ebx            ; the same page under its other address
        mov eax, ebx
        imul eax, eax, 1103515245
        mov esi, eax
        shr esi, 8
        and esi, 0x7ffc
        mov [DEMAND + esi], ebx         ; may fault
        mov [OWN + 0x10], ebx           ; in this space's own page
        call work
        mov eax, work - 0x100000 + CODE_ALIAS
        test ebx, 3
        jnz .here
        call eax
.here:  test ebx, 15
        jnz .stay
        ; take a page away
        mov edi, ebx
        shr edi, 4
        and edi, 7
        mov dword [0x203000 + edi * 4], 0
        mov dword [0x204000 + edi * 4], 0
        shl edi, 12
        invlpg [DEMAND + edi]
.stay:  test ebx, 31
        jnz .space
        mov eax, cr3
        xor eax, 0x1000
        mov cr3, eax
.space: test ebx, 63
        jnz .no_string
        mov esi, VARIABLES
        mov edi, DEMAND + 0x3ff0        ; over a border, and may fault within
        mov ecx, 40
        rep movsb
.no_string:
        test ebx, 255
        jnz again
        hlt
        jmp again

work:   push ebx
        mov ecx, 4
.more:  lea ebx, [ebx + ecx * 2]
        dec ecx
        jnz .more
        add [VARIABLES + 16], ebx
        pop ebx
        ret

; Maps the page at CR2 to a frame that changes, in the present space only.
fault:  push eax
        push ecx
        push edx
        inc dword [VARIABLES + 24]
        mov ecx, cr2
        shr ecx, 12
        and ecx, 7
        mov eax, [VARIABLES + 24]
        and eax, 15
        shl eax, 12
        add eax, 0x300003
        mov edx, cr3
        mov edx, [edx + 4]
        and edx, 0xfffff000
        mov [edx + ecx * 4], eax
        pop edx
        pop ecx
        pop eax
        add esp, 4
        iret

interrupt:
        push eax
        push edx
        inc dword [VARIABLES + 32]
        xor al, al                      ; seconds, of the clock
        out 0x70, al
        in al, 0x71
        mov [VARIABLES + 44], al
        mov dx, 0x3fd
        in al, dx
        test al, 1
        jz .done
        mov dx, 0x3f8
        in al, dx
        mov [VARIABLES + 40], al
.done:  mov al, 0x20
        out 0x20, al
        pop edx
        pop eax
        iret

        align 8
gdt:    dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   dw 23
        dd gdt
idtr:   dw 2047
        dd 0x80000
